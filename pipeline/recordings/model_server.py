"""One process for an installation that holds loaded models: ``python -m pipeline.recordings.model_server``.

Pages, jobs and the command line ask it through ``pipeline.recordings.model_client``, which starts it on demand, so that
a model is loaded once and not once a request. It ends after a time without requests (HARK_SPEECH_IDLE_S, 600 seconds),
when it is told to, and when its socket is taken away. Requests are threads; models have locks of their own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.errors import HarkError
from pipeline.recordings.model_client import (
    LARGEST_AUDIO,
    LARGEST_JSON,
    ServiceGone,
    log_file,
    of_this_user,
    receive,
    receive_json,
    send_json,
    socket_path,
    take_lock,
    too_large,
)
from pipeline.recordings.model_operations import perform

IDLE_S = 600.0
MOST_CLIENTS = 32  # at once; more are told to come back
WAIT_FOR_REQUEST_S = 30.0  # a client that says nothing is dropped
WAIT_FOR_LOCK_S = 15.0  # a service that is ending lets go of its lock soon
LOOK_EVERY_S = 1.0

logger = logging.getLogger("hark.speech_service")

_lock: IO[str] | None = None  # held to the very end of the process: when it is free, the service is gone


class SpeechService:
    """Serves the socket until it is idle for ``idle_s`` seconds or told to stop."""

    def __init__(self, path: Path, idle_s: float) -> None:
        self.path, self.idle_s = path, idle_s
        self._active = 0
        self._last = time.monotonic()
        self._count = threading.Lock()
        self._stopped = threading.Event()
        self._worked: set[str] = set()
        path.unlink(missing_ok=True)  # the lock is ours: whoever made it is dead
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._inode = path.stat().st_ino
        self._listener.listen(64)
        self._listener.settimeout(min(LOOK_EVERY_S, max(0.05, idle_s / 4)))

    def run(self) -> None:
        """Take connections, a thread each, until the end."""
        try:
            while not self._is_over():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                if not of_this_user(connection):
                    connection.close()
                    continue
                with self._count:
                    self._active += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        finally:
            if self._is_ours():
                self.path.unlink(missing_ok=True)
            self._listener.close()

    def _is_over(self) -> bool:
        if self._stopped.is_set():
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

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                answer = self._answer(connection)
                with contextlib.suppress(OSError):  # it did not wait for the answer
                    send_json(connection, json.dumps(answer, ensure_ascii=False).encode())
            except (OSError, ServiceGone, ValueError) as error:
                logger.warning("a client was dropped: %s: %s", type(error).__name__, error)
            finally:
                with self._count:
                    self._active -= 1
                    self._last = time.monotonic()

    def _answer(self, connection: socket.socket) -> dict[str, Any]:
        connection.settimeout(WAIT_FOR_REQUEST_S)
        try:
            header = receive_json(connection, LARGEST_JSON)
        except ValueError:
            return {"error": too_large().as_dict()}
        operation, samples = str(header.get("operation")), header.get("samples")
        if samples is not None and not (isinstance(samples, int) and 0 <= samples <= LARGEST_AUDIO):
            return {"error": too_large().as_dict()}
        if operation == "status":
            return {"result": {"pid": os.getpid(), "loaded": sorted(self._worked)}}
        if operation == "stop":
            self._stopped.set()
            return {"result": {"pid": os.getpid()}}
        if self._active > MOST_CLIENTS:
            error = HarkError(
                "The speech service is busy.", f"{MOST_CLIENTS} requests are being served.", "Try again in a minute."
            )
            return {"error": error.as_dict(), "busy": True}
        audio = None
        if samples is not None:
            audio = np.frombuffer(receive(connection, 4 * samples), dtype=np.float32)
            audio = np.nan_to_num(audio, nan=0.0, posinf=1.0, neginf=-1.0)
        connection.settimeout(None)
        try:
            result = perform(operation, header.get("request") or {}, audio)
        except HarkError as error:
            return {"error": error.as_dict()}
        except Exception:
            identifier = secrets.token_hex(4)
            logger.exception("bug %s in %s", identifier, operation)
            bug = HarkError(
                f"The speech service failed at {operation} by a fault of its own.",
                f"The details are in {log_file()}, id {identifier}.",
                "Try again; if it happens again, report it with that part of the log.",
            )
            return {"error": bug.as_dict()}
        self._worked.add(operation)
        return {"result": result}


def main() -> int:
    """Serve, unless another process does so already."""
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(0))
    path = socket_path()
    global _lock
    _lock = path.with_suffix(".lock").open("a")
    try:
        take_lock(_lock.fileno(), time.monotonic() + WAIT_FOR_LOCK_S)
    except TimeoutError:
        return 0  # it is being served
    os.environ["HARK_SPEECH_SERVICE"] = "0"  # an operation that needs another one has it done here
    logger.info("serving %s", path)
    try:
        SpeechService(path, float(os.environ.get("HARK_SPEECH_IDLE_S") or IDLE_S)).run()
    except Exception:
        logger.exception("the speech service failed")
        return 1
    finally:
        logger.info("ended")
        logging.shutdown()
    return 0


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except SystemExit as end:  # a signal
        code = int(end.code or 0)
    finally:
        # Threads may still be inside of a library; nothing of theirs is worth waiting for. Workers end with us.
        os._exit(code)
