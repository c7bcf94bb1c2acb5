"""Client of the speech service, which holds the loaded models: see ``pipeline.speech_service.server``.

Each connection carries one pickled request (a module's function with its arguments) over a Unix socket that only this
user can open. The answer is a pair: the result and None, or None and a HarkError.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from core.data_folder import REPOSITORY, installation_folder, storing
from core.errors import HarkError
from core.lock import held
from core.worded import number, worded

TIMEOUT_S = 300.0  # seconds per request, including the loading of a model
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
DYING_S = 2.0  # seconds for which a killed process may still accept connections
PROTOCOL = 4  # part of the socket's name, so that a client never connects to a service with a different protocol
MAX_PATH_BYTES = 107  # bytes of a Unix socket's path (sun_path of unix(7), without the terminating NUL)
IDLE_S = 600.0  # seconds without requests after which the service ends
MAX_LOG_BYTES = 2_000_000  # maximum bytes; a larger log is overwritten
STOP = "stop"  # sent in place of a function
SERVICE = ("-m", "pipeline.speech_service.server")  # arguments of Python
# Threads of torch and CTranslate2 that wait for each other must not spin: on two busy cores, spinning costs Hark's
# recognizer 4 times as much CPU time, and whisper-timestamped 3 times as much (python -m lab audio).
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

P = ParamSpec("P")
R = TypeVar("R")

_started: list[subprocess.Popen[bytes]] = []  # by this process, which reaps them after they have ended


class ServiceBusy(HarkError):
    """Raised if the service has its maximum of clients. Half a minute later, it may have room."""


class ServiceGone(Exception):
    """Raised if the service ended before it answered, or was not running."""


class _TooLate(Exception):
    """Raised if an answer is late. It is not a TimeoutError, because storage may raise that too (an OSError)."""


def call(timeout_s: float, function: Callable[P, R], *arguments: P.args, **more: P.kwargs) -> R:
    """Let the service call a module's function; start the service if necessary, and once more if it dies.

    Arguments and results are pickled. With HARK_SPEECH_SERVICE=0, this process calls the function itself.

    Raises ServiceBusy if there are too many clients, the function's HarkError, or another HarkError if the service does
    not start or does not answer in time.
    """
    if os.environ.get("HARK_SPEECH_SERVICE") == "0":
        return function(*arguments, **more)
    deadline = time.monotonic() + timeout_s
    for last in (False, True):
        try:
            path = socket_path()
            try:
                connection = _connect(path, deadline)
            except ServiceGone:
                connection = _start_and_connect(path, deadline)
            result: R = _answer(connection, (function, arguments, more), deadline)
            return result
        except _TooLate:
            raise HarkError(
                worded("The speech service did not answer in time."),
                worded("The request took longer than %(timeout_s)s s.", timeout_s=number(timeout_s)),
                worded(
                    "Try again; a smaller model is faster, and the log shows what it was doing: %(log)s",
                    log=str(log_file()),
                ),
            ) from None
        except ServiceGone as gone:
            if last:
                raise HarkError(
                    worded("The speech service ended twice while it was working."),
                    worded("%(gone)s. Its log is %(log)s.", gone=str(gone), log=str(log_file())),
                    worded("Try again; if memory is short, use a smaller model."),
                ) from None
            _wait_until_dead(socket_path(), min(deadline, time.monotonic() + DYING_S))
    raise AssertionError("unreachable")


def stop() -> None:
    path = socket_path()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with contextlib.suppress(ServiceGone, TimeoutError):
        pid = _answer(_connect(path, deadline), (STOP, (), {}), deadline)
        _wait_until_dead(path, deadline)
        for process in _started:
            if process.pid == pid:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
    _wait_for_ended()


def socket_path() -> Path:
    """Return the service's socket: HARK_SPEECH_SOCKET, or the installation's own. Raises HarkError if it is unsafe."""
    given = os.environ.get("HARK_SPEECH_SOCKET", "").strip()
    if given:
        path = Path(given).expanduser().absolute()
        with storing("starting the speech service"):
            path.parent.mkdir(parents=True, exist_ok=True)
    else:
        installation = f"{REPOSITORY}\0{installation_folder()}\0{PROTOCOL}"
        folder = Path(tempfile.gettempdir()) / f"hark-speech-{os.getuid()}"
        path = folder / f"{hashlib.sha256(installation.encode()).hexdigest()[:16]}.sock"
        with storing("starting the speech service"):
            folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise HarkError(
                worded("The connection to the speech service is not safe."),
                worded("%(folder)s is not a folder that only you can use.", folder=str(folder)),
                worded("Remove it, or set HARK_SPEECH_SOCKET to a socket in a folder of your own."),
            )
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise HarkError(
            worded("The speech service's socket cannot be created."),
            worded(
                "Its path has more than %(longest_path)s bytes: %(path)s.", longest_path=MAX_PATH_BYTES, path=str(path)
            ),
            worded("Set HARK_SPEECH_SOCKET to a shorter one, or TMPDIR to a shorter temporary folder."),
        )
    return path


def log_file() -> Path:
    return installation_folder() / "logs" / "speech-service.log"


def of_this_user(connection: socket.socket) -> bool:
    """Return whether this user owns the other end; True if unknown, because the socket's folder is private."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def _answer(connection: Connection, message: tuple[Any, ...], deadline: float) -> Any:
    """Send one request, and close the connection after its answer."""
    try:
        with connection:
            connection.send(message)
            if not connection.poll(max(0.0, deadline - time.monotonic())):
                raise _TooLate
            answer = connection.recv()
    except (OSError, EOFError) as error:
        raise ServiceGone(f"{type(error).__name__}: {error}") from error
    if not isinstance(answer, tuple):
        raise ServiceGone("it is of an earlier version")
    result, problem = answer
    if problem is not None:
        raise problem
    return result


def _connect(path: Path, deadline: float) -> Connection:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _TooLate
        try:
            opened.settimeout(left)
            opened.connect(str(path))
        except TimeoutError as error:
            raise _TooLate from error
        except OSError as error:
            raise ServiceGone(f"{type(error).__name__}: {error}") from error
        if not of_this_user(opened):
            raise HarkError(
                worded("The connection to the speech service is not safe."),
                worded("Another user's process answers at %(path)s.", path=str(path)),
                worded("Remove the socket, or set HARK_SPEECH_SOCKET to one in a folder of your own."),
            )
        opened.settimeout(None)
        return Connection(opened.detach())


def _start_and_connect(path: Path, deadline: float) -> Connection:
    """Start the service, unless another process does, and wait until it responds."""
    _wait_for_ended()
    with (
        storing("starting the speech service"),
        held(path.with_suffix(".starting"), _being_started, deadline - time.monotonic()),
    ):
        with contextlib.suppress(ServiceGone):
            return _connect(path, deadline)  # another process has started it in the meantime
        process = _start(path)
        _started.append(process)
        give_up = min(deadline, time.monotonic() + START_TIMEOUT_S)
        while process.poll() is None and time.monotonic() < give_up:
            with contextlib.suppress(ServiceGone):
                return _connect(path, deadline)
            time.sleep(0.05)
    code = process.poll()
    process.kill()
    raise _not_started(
        worded("It did not answer") if code is None else worded("It ended with code %(code)s", code=code)
    )


def _being_started(process: str) -> HarkError:
    return _not_started(worded("Process %(process)s is starting it and has not finished", process=process))


def _not_started(why: str) -> HarkError:
    return HarkError(
        worded("The speech service could not be started."),
        worded("%(why)s. Its log is %(log)s.", why=why, log=str(log_file())),
        worded("Run ./hark doctor, or set HARK_SPEECH_SERVICE=0 to load models in each process."),
    )


def _start(path: Path) -> subprocess.Popen[bytes]:
    # There is one service for all users of the installation, whose data it reads and writes.
    environment = {**PATIENT_THREADS, **os.environ}
    environment.pop("HARK_INSTALLATION", None)
    environment |= {
        "HARK_DATA": str(installation_folder()),
        "HARK_SPEECH_SOCKET": str(path),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONSAFEPATH": "1",
    }
    log_file().parent.mkdir(parents=True, exist_ok=True)
    begun = log_file().is_file() and log_file().stat().st_size < MAX_LOG_BYTES
    with log_file().open("ab" if begun else "wb") as log:
        return subprocess.Popen(
            [sys.executable, *SERVICE, str(IDLE_S)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=tempfile.gettempdir(),
            env=environment,
            start_new_session=True,  # it must survive its first job, and Ctrl-C in a terminal
        )


def _wait_until_dead(path: Path, deadline: float) -> None:
    """Wait until no service holds its lock, but at most until ``deadline``."""
    with contextlib.suppress(HarkError), held(path.with_suffix(".lock"), _being_started, deadline - time.monotonic()):
        pass


def _wait_for_ended() -> None:
    """Reap ended services that this process started, so that no zombies remain."""
    _started[:] = [process for process in _started if process.poll() is None]
