"""Engines that crash, hang, write garbage or stay silent: the request fails with a reason, and the run continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audio_generation.engine import FailedRequest, GeneratedClip, SpeechRequest
from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.fake_engine import Fake
from tests.support.processes import has_ended
from tests.support.servers import wait_for


@pytest.fixture
def fake() -> Iterator[Fake]:
    engine = Fake()
    engine.request_timeout_s = 1.0
    yield engine
    engine.close()


def request(number: int, behave: str = "", text: str = "hey compass") -> SpeechRequest:
    return SpeechRequest(f"r{number}", text, "low", "en", {"behave": behave} if behave else {})


FAILURES = {
    "refuse": "told to refuse",
    "raise": "told to raise",
    "crash": "SIGSEGV: fake: about to crash",
    "exit": "exit code 3",
    "hang": "did not answer within 1 s",
    "nonsense": "gave an invalid answer",
    "wrong id": "gave an invalid answer",
    "endless": "sent endless output",
    "no file": "no readable audio file",
    "silence": "silent",  # test_clip_check.py covers the other findings
}


@pytest.mark.parametrize("behave", list(FAILURES))
def test_a_failed_request_is_reported_and_the_others_succeed(fake: Fake, tmp_path: Path, behave: str) -> None:
    results = list(fake.synthesize([request(0), request(1, behave), request(2), request(3)], tmp_path))
    assert [result.request_id for result in results] == ["r0", "r1", "r2", "r3"]
    assert [type(result) for result in results] == [GeneratedClip, FailedRequest, GeneratedClip, GeneratedClip]
    assert isinstance(results[1], FailedRequest) and FAILURES[behave] in results[1].why
    assert len(list(tmp_path.iterdir())) == 3  # no partial files remain


def test_an_engine_that_only_crashes_is_abandoned_until_the_next_call(fake: Fake, tmp_path: Path) -> None:
    results = list(fake.synthesize((request(n, "crash") for n in range(200)), tmp_path))
    assert len(results) == 200 and all(isinstance(result, FailedRequest) for result in results)
    assert "given up after 4 failures" in results[-1].why  # type: ignore[union-attr]
    assert isinstance(next(fake.synthesize([request(0)], tmp_path)), GeneratedClip)


def test_occasional_crashes_among_many_clips_are_tolerated(fake: Fake, tmp_path: Path) -> None:
    requests = [request(n, "exit" if n % 40 == 39 else "", "ab") for n in range(240)]
    results = list(fake.synthesize(requests, tmp_path))
    assert sum(isinstance(result, GeneratedClip) for result in results) == 234


def starting(fake: Fake, *starts: str) -> None:
    """Start the worker with these values of HARK_FAKE_START in turn, and with the last one from then on."""
    left = [{"HARK_FAKE_START": start} for start in starts]
    fake.worker_environment = lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_failed_restart_is_retried_and_loses_one_request(fake: Fake, tmp_path: Path) -> None:
    starting(fake, "", "crash", "unavailable", "")
    results = list(fake.synthesize([request(n, "crash" if n == 5 else "") for n in range(30)], tmp_path))
    assert [n for n, result in enumerate(results) if isinstance(result, FailedRequest)] == [5]


def test_an_engine_that_never_restarts_is_abandoned(fake: Fake, tmp_path: Path) -> None:
    starting(fake, "", "crash")
    results = list(fake.synthesize([request(n, "crash" if n == 1 else "") for n in range(5)], tmp_path))
    assert [type(result) for result in results] == [GeneratedClip] + 4 * [FailedRequest]
    why = results[-1].why  # type: ignore[union-attr]
    assert "given up after 4 failures" in why and "exit code 1" in why


@pytest.mark.parametrize(("waiting", "result"), [(0.0, FailedRequest), (3.0, GeneratedClip)])
def test_requests_may_take_longer_on_a_busy_machine(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: float, result: type
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (waiting * (os.cpu_count() or 1), 0.0, 0.0))
    fake.facts()
    (found,) = fake.synthesize([request(0, "slow")], tmp_path)
    assert isinstance(found, result), found


@pytest.mark.parametrize(("start", "why"), [("crash", "exit code 1"), ("unavailable", "told not to start")])
def test_a_worker_that_cannot_start_is_reported(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, why: str
) -> None:
    monkeypatch.setenv("HARK_FAKE_START", start)
    assert not fake.available().ok and why in fake.available().why
    assert fake.voices("en") == []
    (result,) = fake.synthesize([request(0)], tmp_path)
    assert isinstance(result, FailedRequest) and why in result.why


def test_a_worker_that_hangs_while_starting_is_stopped(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_FAKE_START", "hang")
    fake.start_timeout_s = 0.5
    assert "did not answer within 0.5 s" in fake.available().why


def test_results_of_an_abandoned_call_do_not_reach_the_next_call(fake: Fake, tmp_path: Path) -> None:
    clips = fake.synthesize((request(n) for n in range(100)), tmp_path)
    next(clips)
    clips.close()  # type: ignore[attr-defined]
    results = list(fake.synthesize([request(7, text="another text")], tmp_path))
    assert [type(result) for result in results] == [GeneratedClip]


def test_requests_are_consumed_lazily(fake: Fake, tmp_path: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[SpeechRequest]:
        while True:
            taken.append(len(taken))
            yield request(len(taken))

    clips = fake.synthesize(endless(), tmp_path)
    for _ in range(5):
        next(clips)
    assert len(taken) < 12


def test_calls_from_several_threads_take_turns(fake: Fake, tmp_path: Path) -> None:
    def three(caller: int) -> list[GeneratedClip | FailedRequest]:
        return list(fake.synthesize([request(10 * caller + n) for n in range(3)], tmp_path / str(caller)))

    with ThreadPoolExecutor(4) as callers:
        for caller, results in enumerate(callers.map(three, range(4))):
            assert [result.request_id for result in results] == [f"r{10 * caller + n}" for n in range(3)]
            assert all(isinstance(result, GeneratedClip) for result in results), results


def test_an_engine_held_by_another_thread_reports_that_it_is_busy(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audio_generation.engine.MAX_WAIT_S", 0.1)
    clips = fake.synthesize((request(n) for n in range(9)), tmp_path)
    next(clips)
    with ThreadPoolExecutor(1) as other, pytest.raises(HarkError, match="fake is busy"):
        other.submit(list, fake.synthesize([request(20)], tmp_path)).result()
    assert len(list(clips)) == 8


def test_a_nested_call_is_rejected_and_a_closed_engine_restarts(fake: Fake, tmp_path: Path) -> None:
    first = fake.synthesize((request(n) for n in range(9)), tmp_path)
    next(first)
    with pytest.raises(RuntimeError, match="still answering"):
        next(fake.synthesize([request(20)], tmp_path))
    fake.close()
    rest = list(first)
    assert isinstance(rest[0], FailedRequest) and "closed" in rest[0].why
    assert all(isinstance(result, GeneratedClip) for result in rest[1:]) and len(rest) == 8


def test_a_worker_that_died_while_idle_loses_no_request(fake: Fake, tmp_path: Path) -> None:
    list(fake.synthesize([request(0)], tmp_path))
    assert fake._worker is not None
    fake._worker._process.kill()
    fake._worker._process.wait()
    (result,) = fake.synthesize([request(1)], tmp_path)
    assert isinstance(result, GeneratedClip)


def test_a_full_disk_ends_the_run_with_an_explanation(fake: Fake, tmp_path: Path) -> None:
    clips = fake.synthesize([request(0), request(1, "full disk"), request(2)], tmp_path)
    next(clips)
    with pytest.raises(HarkError, match="disk is full"):
        next(clips)
    assert isinstance(next(fake.synthesize([request(3)], tmp_path)), GeneratedClip)


def test_a_folder_that_cannot_be_created_is_reported(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HarkError, match="could not be written"):
        next(fake.synthesize([request(0)], tmp_path / "file"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hung_worker_ends_with_its_host(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.support.fake_engine import Fake\n"
        "from audio_generation.engine import SpeechRequest\n"
        "fake = Fake(); fake.request_timeout_s = 600; fake.facts(); print(fake._worker._process.pid, flush=True)\n"
        "list(fake.synthesize([SpeechRequest('a', 'b', 'low', 'en', {'behave': 'hang'})], Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert host.stdout is not None
    worker = int(host.stdout.readline())
    time.sleep(0.3)
    assert Path(f"/proc/{worker}").exists()
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    wait_for(lambda: has_ended(worker), 5)
