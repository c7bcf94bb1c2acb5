"""Asks the speech service, which holds the loaded models: see ``pipeline.recordings.model_server``.

Client and service speak over a Unix socket, one request a connection: the length of a JSON header (4 bytes, the most
significant first), the header, and the audio that it announces, float32 in the machine's own order of bytes. The answer
is a length and a JSON object: ``result`` or ``error``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.data_folder import REPOSITORY, installation_folder, storage_error
from core.errors import HarkError

TIMEOUT_S = 300.0  # for one request, the loading of a model included
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
DYING_S = 2.0  # a process that was killed takes connections for a moment more
PROTOCOL = 1  # in the socket's name: a client never meets a service that speaks otherwise
LARGEST_JSON = 8_000_000  # bytes of a header or an answer
LARGEST_AUDIO = 30 * 60 * SAMPLE_RATE  # samples: the longest recording that an upload may have
LONGEST_PATH = 107  # bytes of a Unix socket's path (sun_path of unix(7), without the closing zero)
LARGEST_LOG = 2_000_000  # bytes; a longer one is begun anew
LENGTH = struct.Struct(">I")
SERVICE = ("-m", "pipeline.recordings.model_server")  # what Python runs
# Threads of torch and CTranslate2 that wait for each other must not spin: on two busy cores Hark's recognizer took 4
# times as much work with spinning, whisper-timestamped 3 times (./hark bench audio).
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

_started: list[subprocess.Popen[bytes]] = []  # by this process; they are waited for when they have ended


class ServiceBusy(HarkError):
    """The service has as many clients as it serves; over HTTP answered with 503 and ``Retry-After``."""

    status, wait_s = 503, 30


class ServiceGone(Exception):
    """The service ended, or was never there, before it had answered."""


def call(
    operation: str, request: Mapping[str, Any], audio: np.ndarray | None = None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Have the service do one operation; starts it where it is not running, and once more where it dies meanwhile.

    Args:
        operation: a name in ``pipeline.recordings.model_server.OPERATIONS``.
        request: JSON-able.
        audio: mono float32 [samples] at 16 kHz, where the operation hears.

    With HARK_SPEECH_SERVICE=0 the operation is done in this process.

    Raises:
        ServiceBusy: it serves others.
        HarkError: the operation's own, or that the service does not start or does not answer in time.
    """
    if os.environ.get("HARK_SPEECH_SERVICE") == "0":
        from pipeline.recordings.model_operations import perform

        return perform(operation, request, audio)
    samples = np.zeros(0, np.float32) if audio is None else np.ascontiguousarray(audio, dtype=np.float32)
    header = json.dumps(
        {"operation": operation, "request": dict(request), "samples": None if audio is None else len(samples)}
    ).encode()
    if len(header) > LARGEST_JSON or len(samples) > LARGEST_AUDIO:
        raise too_large()
    deadline = time.monotonic() + timeout_s
    for last in (False, True):
        try:
            with _connected(deadline) as connection:
                return _answered(connection, header, samples)
        except TimeoutError:
            raise HarkError(
                "The speech service did not answer in time.",
                f"It had {timeout_s:g} s for {operation}.",
                "Try again; a smaller model is faster, and the log tells what it was doing: " + str(log_file()),
            ) from None
        except ServiceGone as gone:
            if last:
                raise HarkError(
                    "The speech service ended while it was working, twice.",
                    f"{gone}. Its log is {log_file()}.",
                    "Try again; where memory is short, a smaller model helps.",
                ) from None
            _wait_until_dead(socket_path(), min(deadline, time.monotonic() + DYING_S))
    raise AssertionError("unreachable")


def status() -> dict[str, Any] | None:
    """``pid`` and ``loaded`` (the operations that have worked, so whose models are loaded); None: it is not running."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with contextlib.suppress(ServiceGone, TimeoutError, HarkError), _connect(socket_path(), deadline) as connection:
        return _answered(connection, b'{"operation": "status", "request": {}, "samples": null}', np.zeros(0))
    return None


def stop() -> None:
    """End the service where it runs, and wait until it is gone; models are loaded again when they are needed."""
    path = socket_path()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    pid = 0
    with contextlib.suppress(ServiceGone, TimeoutError), _connect(path, deadline) as connection:
        request = b'{"operation": "stop", "request": {}, "samples": null}'
        pid = _answered(connection, request, np.zeros(0)).get("pid", 0)
    _wait_until_dead(path, deadline)
    for process in _started:
        if process.pid == pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
    _wait_for_ended()


def socket_path() -> Path:
    """The service's socket: HARK_SPEECH_SOCKET, or one named after the installation in a folder of this user's own.

    Raises:
        HarkError: the folder is not private, or the path is longer than a socket's may be.
    """
    given = os.environ.get("HARK_SPEECH_SOCKET", "").strip()
    if given:
        path = Path(given).expanduser().absolute()
    else:
        installation = f"{REPOSITORY}\0{installation_folder()}\0{PROTOCOL}"
        folder = Path(tempfile.gettempdir()) / f"hark-speech-{os.getuid()}"
        path = folder / f"{hashlib.sha256(installation.encode()).hexdigest()[:16]}.sock"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "starting the speech service") from error
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise HarkError(
                "The speech service cannot be reached safely.",
                f"{folder} is not a folder that only you may use.",
                "Remove it, or name a socket in a folder of your own in HARK_SPEECH_SOCKET.",
            )
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise HarkError(
            "The speech service's socket cannot be made.",
            f"Its path has more than {LONGEST_PATH} bytes: {path}.",
            "Name a shorter one in HARK_SPEECH_SOCKET, or a shorter temporary folder in TMPDIR.",
        )
    return path


def log_file() -> Path:
    """What the service says of itself and of its faults."""
    return installation_folder() / "logs" / "speech-service.log"


def too_large() -> HarkError:
    """For a request that no service takes."""
    return HarkError(
        "The request is too large for the speech service.",
        f"It takes {LARGEST_AUDIO // SAMPLE_RATE // 60} minutes of audio and {LARGEST_JSON // 10**6} MB of text.",
        "Give it in parts.",
    )


def of_this_user(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to the user of this one (where the system tells; else the folder
    of the socket, which nobody else can enter, has to suffice)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def receive(connection: socket.socket, count: int) -> bytearray:
    """Exactly ``count`` bytes. Raises ServiceGone where the other end closes before."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = connection.recv_into(view, min(len(view), 1 << 20))
        if not got:
            raise ServiceGone("the connection was closed")
        view = view[got:]
    return data


def receive_json(connection: socket.socket, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """One length and JSON object. Raises ServiceGone, or ValueError where it is too long or none."""
    (length,) = LENGTH.unpack(receive(connection, LENGTH.size))
    if length > largest:
        raise ValueError(f"{length} bytes of JSON")
    content = json.loads(receive(connection, length))
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def send_json(connection: socket.socket, content: bytes) -> None:
    """A length and the JSON object."""
    connection.sendall(LENGTH.pack(len(content)) + content)


def _answered(connection: socket.socket, header: bytes, samples: np.ndarray) -> dict[str, Any]:
    try:
        try:
            send_json(connection, header)
            if len(samples):
                connection.sendall(samples.data.cast("B"))
        except (BrokenPipeError, ConnectionResetError):
            pass  # who refuses a request does not read all of it
        answer = receive_json(connection, 1 << 30)
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        raise ServiceGone(f"{type(error).__name__}: {error}") from error
    if "error" in answer:
        raise (ServiceBusy if answer.get("busy") else HarkError)(**answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


@contextmanager
def _connected(deadline: float) -> Iterator[socket.socket]:
    """A connection to a running service; started where there is none."""
    path = socket_path()
    try:
        connection = _connect(path, deadline)
    except ServiceGone:
        connection = _start_and_connect(path, deadline)
    with connection:
        yield connection


def _connect(path: Path, deadline: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        connection.connect(str(path))
        if not of_this_user(connection):
            raise HarkError(
                "The speech service cannot be reached safely.",
                f"Another user's process answers at {path}.",
                "Remove the socket, or name one in a folder of your own in HARK_SPEECH_SOCKET.",
            )
    except TimeoutError:
        connection.close()
        raise
    except OSError as error:
        connection.close()
        raise ServiceGone(f"{type(error).__name__}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _start_and_connect(path: Path, deadline: float) -> socket.socket:
    """Start the service, unless somebody else is at it, and wait until it answers."""
    _wait_for_ended()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".starting").open("a")
    except OSError as error:
        raise storage_error(error, "starting the speech service") from error
    with lock:
        take_lock(lock.fileno(), deadline)
        with contextlib.suppress(ServiceGone):
            return _connect(path, deadline)  # somebody else has started it meanwhile
        process = _start(path)
        _started.append(process)
        give_up = min(deadline, time.monotonic() + START_TIMEOUT_S)
        while True:
            with contextlib.suppress(ServiceGone):
                return _connect(path, deadline)
            if process.poll() is not None or time.monotonic() > give_up:
                how = "did not answer" if process.poll() is None else f"ended with code {process.returncode}"
                process.kill()
                raise HarkError(
                    "The speech service could not be started.",
                    f"It {how}. Its log is {log_file()}.",
                    "Run ./hark doctor, or set HARK_SPEECH_SERVICE=0 to load models in each process.",
                )
            time.sleep(0.05)


def take_lock(descriptor: int, deadline: float) -> None:
    """Take the lock on an open file, or raise TimeoutError."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(0.02)


def _start(path: Path) -> subprocess.Popen[bytes]:
    # One service for all users of the installation: what it reads and writes is the installation's.
    environment = {**PATIENT_THREADS, **os.environ}
    environment.pop("HARK_INSTALLATION", None)
    environment |= {
        "HARK_DATA": str(installation_folder()),
        "HARK_SPEECH_SOCKET": str(path),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONSAFEPATH": "1",
    }
    try:
        log_file().parent.mkdir(parents=True, exist_ok=True)
        begun = log_file().is_file() and log_file().stat().st_size < LARGEST_LOG
        with log_file().open("ab" if begun else "wb") as log:
            return subprocess.Popen(
                [sys.executable, *SERVICE],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=tempfile.gettempdir(),
                env=environment,
                start_new_session=True,  # it outlives the job that needed it first, and Ctrl-C on a terminal
            )
    except OSError as error:
        raise storage_error(error, "starting the speech service") from error


def _wait_until_dead(path: Path, deadline: float) -> None:
    """Wait until no service holds its lock any more; at most until ``deadline``."""
    if path.parent.is_dir():
        with path.with_suffix(".lock").open("a") as lock, contextlib.suppress(TimeoutError):
            take_lock(lock.fileno(), deadline)


def _wait_for_ended() -> None:
    """Take leave of services that this process started and that have ended, so that no zombies stay."""
    _started[:] = [process for process in _started if process.poll() is None]
