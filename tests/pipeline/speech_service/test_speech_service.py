"""One service for all: started once, restarted when it dies, ended when idle, with nothing left over."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Listener
from pathlib import Path

import numpy as np
import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from pipeline.speech_service import client as speech_client
from pipeline.speech_service import server as speech_service
from pipeline.speech_service.client import call
from tests.support.programs import output_of
from tests.support.servers import wait_for
from tests.support.service_double import bug, die_once, refuse, signal_this_thread, sleep, use_model


@pytest.fixture
def service(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of a service that has not been started."""
    folder = Path(tempfile.mkdtemp(prefix="hs-"))  # a test's own folder may have a longer path than a socket's can be
    monkeypatch.setenv("HARK_SPEECH_SOCKET", str(folder / "s.sock"))
    monkeypatch.delenv("HARK_SPEECH_SERVICE", raising=False)
    monkeypatch.delenv("HARK_INSTALLATION", raising=False)
    try:
        yield folder / "s.sock"
    finally:
        speech_client.stop()
        shutil.rmtree(folder)


def is_gone(pid: int) -> bool:
    """Return whether the process has ended, after waiting for ended children."""
    speech_client._wait_for_ended()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_simultaneous_clients_start_one_service_that_loads_a_model_once(service: Path, tmp_path: Path) -> None:
    loads = tmp_path / "loads"

    def ask(number: int) -> dict[str, object]:
        return call(30.0, use_model, loads, np.full(1000, number, np.float32))

    with ThreadPoolExecutor(6) as together:
        answers = list(together.map(ask, range(6)))
    assert len({answer["pid"] for answer in answers}) == 1
    assert [answer["sum"] for answer in answers] == [1000.0 * number for number in range(6)]
    assert len(loads.read_text().splitlines()) == 1


def test_two_processes_share_the_service(service: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from pipeline.speech_service.client import call\n"
        "from tests.support.service_double import use_model\n"
        "print(call(60.0, use_model, pathlib.Path(sys.argv[1]))['pid'])"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "loads")], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in started]
    assert said[0] == said[1] != ""
    # The service outlives the processes that started it.
    assert call(30.0, use_model, tmp_path / "loads")["pid"] == int(said[0])
    assert len((tmp_path / "loads").read_text().splitlines()) == 1


def test_a_service_killed_during_a_request_is_restarted(service: Path, tmp_path: Path) -> None:
    pid = call(30.0, die_once, tmp_path / "deaths", 1)
    (dead,) = (tmp_path / "deaths").read_text().splitlines()
    assert pid != int(dead) and is_gone(int(dead))


def test_a_request_that_kills_the_service_twice_is_abandoned(service: Path, tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="twice"):
        call(30.0, die_once, tmp_path / "deaths", 5)
    assert len((tmp_path / "deaths").read_text().splitlines()) == 2


def test_a_service_killed_between_requests_is_restarted(service: Path, tmp_path: Path) -> None:
    first = call(30.0, use_model, tmp_path / "loads")["pid"]
    os.kill(first, signal.SIGKILL)
    second = call(30.0, use_model, tmp_path / "loads")["pid"]
    assert second != first
    assert stat.S_ISSOCK(service.stat().st_mode)


def test_the_service_ends_when_idle_and_removes_its_socket(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_client, "IDLE_S", 0.4)
    call(30.0, sleep, 0.8)  # a busy service is not idle
    pid = speech_client._started[-1].pid
    wait_for(lambda: is_gone(pid), 10.0)
    assert not service.exists()
    assert call(30.0, sleep) == "slept"  # a new service starts


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "a signal to another thread", "its socket goes"])
def test_the_service_ends_cleanly_on_signals(service: Path, how: object) -> None:
    """The system may deliver a signal to any thread; the thread that waits for connections checks for it."""
    call(30.0, sleep)
    pid = speech_client._started[-1].pid
    if isinstance(how, signal.Signals):
        os.kill(pid, how)
    elif how == "its socket goes":
        service.unlink()
    else:
        call(30.0, signal_this_thread, int(signal.SIGINT))
    wait_for(lambda: is_gone(pid), 10.0)
    assert not service.exists()


def test_stop_waits_until_the_service_has_ended(service: Path) -> None:
    call(30.0, sleep)
    pid = speech_client._started[-1].pid
    speech_client.stop()
    assert is_gone(pid) and not service.exists()
    speech_client.stop()  # without a service, nothing happens


def test_stop_does_not_hang_on_a_service_of_an_earlier_version(service: Path) -> None:
    def answer() -> None:
        with listener.accept() as connection:
            connection.recv()
            connection.send({"pid": 1})

    with Listener(str(service), "AF_UNIX") as listener, ThreadPoolExecutor(1) as pool:
        answered = pool.submit(answer)
        speech_client.stop()
        answered.result(5)


def test_a_user_error_reaches_the_client_unchanged(service: Path) -> None:
    with pytest.raises(HarkError) as caught:
        call(30.0, refuse)
    assert caught.value.as_dict() == {
        "what": "It is refused.", "why": "The test wants it so.", "what_to_do": "Change the test.",
    }  # fmt: skip


def test_a_service_with_too_many_clients_reports_that_it_is_busy(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_service, "MAX_CLIENTS", 0)
    here = threading.Thread(target=speech_service.SpeechService(service, 60.0).run)
    here.start()
    try:
        with pytest.raises(speech_client.ServiceBusy) as caught:
            call(30.0, sleep)
        assert "busy" in caught.value.what
    finally:
        speech_client.stop()
        here.join(10)


def test_a_bug_is_reported_and_its_traceback_logged(service: Path) -> None:
    with pytest.raises(HarkError) as caught:
        call(30.0, bug)
    said = str(caught.value)
    assert "an internal error" in said and "Traceback" not in said and "ZeroDivision" not in said
    assert "ZeroDivisionError" in speech_client.log_file().read_text()
    assert call(30.0, sleep) == "slept"


def test_an_unknown_function_fails_without_ending_the_service(service: Path, tmp_path: Path) -> None:
    (tmp_path / "of_tomorrow.py").write_text("def work(): ...")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(tmp_path)
        work = importlib.import_module("of_tomorrow").work
    with pytest.raises(HarkError, match="a different version"):
        call(30.0, work)
    assert call(30.0, sleep) == "slept"


def test_a_call_that_takes_too_long_is_reported(service: Path) -> None:
    call(30.0, sleep)
    with pytest.raises(HarkError, match="in time"):
        call(0.3, sleep, 3.0)


def test_a_slow_start_is_a_timeout_and_not_a_disk_error(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def late(*lock: object) -> Iterator[None]:
        time.sleep(0.2)
        yield

    monkeypatch.setattr(speech_client, "held", late)
    with pytest.raises(HarkError, match="in time"):
        call(0.1, sleep)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x00",
        struct.pack(">i", 11) + b"not pickled",
        struct.pack(">i", 1 << 30),
        struct.pack(">i", len(pickle.dumps(["sleep"]))) + pickle.dumps(["sleep"]),
    ],
)
def test_invalid_bytes_on_the_socket_do_not_end_the_service(service: Path, raw: bytes) -> None:
    call(30.0, sleep)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    assert call(30.0, sleep) == "slept"


def test_a_service_that_cannot_start_explains_why(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_client, "SERVICE", ("-c", "raise SystemExit(7)"))
    with pytest.raises(HarkError, match="could not be started") as caught:
        call(30.0, sleep)
    assert "code 7" in caught.value.why


def test_only_the_same_user_can_connect(service: Path) -> None:
    call(30.0, sleep)
    assert stat.S_IMODE(service.stat().st_mode) & 0o077 == 0
    here, there = socket.socketpair()
    with here, there:
        assert speech_client.of_this_user(here)


def test_the_socket_is_in_a_private_folder_named_after_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hs-"))
    try:
        monkeypatch.delenv("HARK_SPEECH_SOCKET", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setenv("HARK_INSTALLATION", str(tmp_path / "one"))
        one = speech_client.socket_path()
        monkeypatch.setenv("HARK_DATA", str(tmp_path / "users" / "7"))
        assert speech_client.socket_path() == one  # all users of an installation share it
        monkeypatch.setenv("HARK_INSTALLATION", str(tmp_path / "two"))
        assert speech_client.socket_path() != one
        assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
        one.parent.chmod(0o755)
        with pytest.raises(HarkError, match="not safe"):
            speech_client.socket_path()
        one.parent.rmdir()
        one.parent.symlink_to(tmp_path)  # a trap by another user
        with pytest.raises(HarkError, match="not safe"):
            speech_client.socket_path()
        monkeypatch.setenv("HARK_SPEECH_SOCKET", f"/tmp/{'x' * 120}.sock")
        with pytest.raises(HarkError, match="107"):
            speech_client.socket_path()
    finally:
        shutil.rmtree(folder)


def test_without_a_service_calls_run_in_this_process(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    assert call(30.0, os.getpid) == os.getpid() and not service.exists()


CLIENT = "pipeline.recordings.transcription.streaming, pipeline.recordings.transcription.transcribe"
ASKING = (
    "pipeline.recordings.transcripts.captions, pipeline.recordings.language_models.llm as llm\n"
    "import pipeline.recordings.answers.question_answering, pipeline.recordings.answers.reader as q\n"
    "import pipeline.recordings.summarization as s\n"
    "q.READER.readiness(); llm.available(); [engine.available() for engine in s.engines()]"
)


@pytest.mark.parametrize("imported", [CLIENT, ASKING])
def test_clients_need_neither_torch_nor_django(imported: str) -> None:
    slow = {"torch", "django", "transformers", "faster_whisper", "whisper", "docx", "sumy", "nltk"}
    program = f"import sys, {imported}\nprint(*sorted({slow} & set(sys.modules)))"
    assert output_of(program) == ""
