"""The process that holds an installation's loaded models: ``python -m pipeline.speech_service.server``.

Pages, jobs and the command line use it through its client, which starts it on demand, so that a model is loaded
once instead of once per request. It ends on request, after some time without requests (its argument, in seconds), and
when its socket is removed. Each request runs in a thread. Models have their own locks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from core.errors import HarkError
from core.lock import held
from core.worded import worded
from pipeline.speech_service.client import STOP, ServiceBusy, log_file, of_this_user, socket_path

MAX_CLIENTS = 32  # maximum simultaneous clients; further ones must retry
WAIT_FOR_REQUEST_S = 30.0  # seconds after which a silent client is dropped
WAIT_FOR_LOCK_S = 15.0  # seconds; a service that is ending releases its lock soon
LOOK_EVERY_S = 1.0

logger = logging.getLogger("hark.speech_service")


class SpeechService:
    """Serves the socket until it has been idle for ``idle_s`` seconds, or ``stopped``."""

    def __init__(self, path: Path, idle_s: float) -> None:
        self.path, self.idle_s = path, idle_s
        self.stopped = False  # set to end the service
        self._active = 0
        self._last = time.monotonic()
        self._count = threading.Lock()

    def run(self) -> None:
        """Create the socket and accept connections, one thread each, until shutdown."""
        self.path.unlink(missing_ok=True)  # this process holds the lock, so the process that made it is dead
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self.path))
        finally:
            os.umask(before)
        self._inode = self.path.stat().st_ino
        self._listener.listen(64)
        self._listener.settimeout(min(LOOK_EVERY_S, max(0.05, self.idle_s / 4)))
        try:
            while not self._is_over():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                if self.stopped or not of_this_user(connection):
                    connection.close()
                    continue
                with self._count:
                    self._active += 1
                connection.settimeout(None)
                opened = Connection(connection.detach())
                threading.Thread(target=self._serve, args=(opened,), daemon=True).start()
        finally:
            if self._is_ours():
                self.path.unlink(missing_ok=True)
            self._listener.close()

    def _is_over(self) -> bool:
        if self.stopped:
            return True
        with self._count:
            at_rest = self._active == 0
            idle = at_rest and time.monotonic() - self._last > self.idle_s
        return idle or (at_rest and not self._is_ours())

    def _is_ours(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                if connection.poll(WAIT_FOR_REQUEST_S):
                    try:
                        message = connection.recv()
                    except (ImportError, AttributeError) as error:  # this version does not have the function
                        message = (_refuse_unknown, (str(error),), {})
                    answer = self._answer(*message)
                    with contextlib.suppress(OSError):  # the client no longer waits for the answer
                        connection.send(answer)
            except Exception as error:  # an invalid request can fail in any way
                logger.warning("a client was dropped: %s: %s", type(error).__name__, error)
            finally:
                with self._count:
                    self._active -= 1
                    self._last = time.monotonic()
        if self.stopped:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
                knock.connect(str(self.path))  # ends the wait for a connection

    def _answer(self, function: Any, arguments: Any, more: Any) -> tuple[Any, HarkError | None]:
        if function == STOP:
            self.stopped = True
            return os.getpid(), None
        if self._active > MAX_CLIENTS:
            why = worded("%(n)d requests are being served.", n=MAX_CLIENTS)
            return None, ServiceBusy(worded("The speech service is busy."), why, worded("Try again in a minute."))
        try:
            return function(*arguments, **more), None
        except HarkError as error:
            return None, error
        except Exception:
            identifier = secrets.token_hex(4)
            logger.exception("bug %s in %s", identifier, function.__name__)
            return None, HarkError(
                worded("The speech service failed because of an internal error."),
                worded("The details are in %(log)s, id %(identifier)s.", log=str(log_file()), identifier=identifier),
                worded("Try again; if it happens again, report it with that part of the log."),
            )


def _refuse_unknown(why: str) -> None:
    raise HarkError(
        worded("The speech service is running a different version of Hark."),
        f"{why}.",
        worded("Restart ./hark serve, so that all processes have the same version."),
    )


def main() -> None:
    """Serve unless another process does; end the process."""
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(message)s", level=logging.INFO)
    path = socket_path()
    service = SpeechService(path, float(sys.argv[1]))

    def stop(number: int, frame: FrameType | None) -> None:
        service.stopped = True  # an exception could occur between two iterations of a loop, and miss its ``finally``

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 1
    try:
        with held(
            path.with_suffix(".lock"),
            lambda process: HarkError(worded("The speech service is already running."), process, ""),
            WAIT_FOR_LOCK_S,
        ):
            os.environ["HARK_SPEECH_SERVICE"] = "0"  # an operation that needs another one runs it here
            logger.info("serving %s", path)
            try:
                service.run()
                code = 0
            except Exception:
                logger.exception("the speech service failed")
            finally:
                logger.info("ended")
                logging.shutdown()
                # The lock ends with the process. Threads may still be inside a library, but nobody waits for their
                # results. Workers end with the process too.
                os._exit(code)
    except HarkError:
        pass  # another process serves


if __name__ == "__main__":
    main()
