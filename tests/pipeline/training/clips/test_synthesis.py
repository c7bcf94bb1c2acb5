"""Synthesis: another engine speaks what one cannot, no text is spoken twice, and failures have reasons."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audio_generation.engine import Engine, Voice
from audio_generation.espeak_side.espeak import Espeak
from core.errors import HarkError
from core.events import Event, Pace, Reporter
from db.checking import check_library
from db.db_api import Library
from pipeline.training.clips.synthesis import GenerationReport, generate
from pipeline.training.planning.clip_choice import PlannedRequest
from pipeline.training.planning.plan import remaining, run_splits
from tests.support.choir import Choir
from tests.support.constants import replace_in
from tests.support.fake_engine import Fake
from tests.support.planned_speech import plan_of, request
from tests.support.programs import run_python


class Watched(Reporter):
    """A reporter that records events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        super().__init__(self.events.append)

    @property
    def warnings(self) -> str:
        return "\n".join(e["message"] for e in self.events if e["event"] == "log" and e["level"] == "warning")


def speak(
    requests: list[PlannedRequest], engines: dict[str, Any], library: Library
) -> tuple[GenerationReport, Watched]:
    reporter = Watched()
    return generate(plan_of(requests, engines), engines, library, reporter), reporter


def test_all_engines_synthesize_and_clips_record_their_speaker(library: Library) -> None:
    engines = {"alpha": Choir("alpha"), "beta": Choir("beta")}
    requests = [request(n, name, f"{name}-1/alto") for n, name in enumerate(["alpha", "beta"] * 10)]
    report, reporter = speak(requests, engines, library)
    assert report.generated == {"positive": 20} and report.failed == {}
    assert remaining(requests, library) == [] and check_library(library, left_over_after_s=0).ok
    clips = list(library.iter_clips())
    assert Counter(clip.engine for clip in clips) == {"alpha": 10, "beta": 10}
    assert {clip.speaker for clip in clips} == {"alpha-1", "beta-1"} and {clip.model for clip in clips} == {"hum"}
    assert {clip.text_normalized for clip in clips} == {r.text for r in requests}
    assert [e["name"] for e in reporter.events if e["event"] == "stage"] == ["synthesize"]
    last = [e for e in reporter.events if e["event"] == "progress"][-1]
    assert last["done"] == last["total"] == 20
    assert not any((library.data_dir / "tmp").iterdir()), "no temporary files remain"
    again, _ = speak(requests, engines, library)
    assert again.generated == {} and len(engines["alpha"].spoken) == 10


def test_a_slow_engine_is_named_while_other_engines_wait(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in(Pace, monkeypatch, steady_after_s=0.0, steady_after=1)
    engines = {"quick": Choir("quick"), "slow": Choir("slow")}
    engines["slow"].fails = lambda r: time.sleep(0.6)
    requests = [request(n, name, f"{name}-1/alto") for n, name in enumerate(["quick", "slow"] * 4)]
    _, reporter = speak(requests, engines, library)
    messages = [event["message"] for event in reporter.events if event["event"] == "log"]
    assert len(messages) == 1 and re.fullmatch(r"quick is done; still running: slow \([34] left\)\.", messages[0])
    left_s = [event["eta_s"] for event in reporter.events if event["event"] == "progress"]
    known = [left for left in left_s if left is not None]
    assert left_s[-1] == 0 and max(known) > 0.5, "the slow engine sets the estimate"


def test_other_engines_take_over_failed_requests(library: Library) -> None:
    good, bad = Choir("good"), Choir("bad")
    bad.fails = lambda r: "it has a cold" if r.request_id.endswith(("1", "3")) else None
    requests = [request(n, ("good", "bad")[n % 2], ("good", "bad")[n % 2] + "-1/bass") for n in range(20)]
    report, reporter = speak(requests, {"good": good, "bad": bad}, library)
    assert remaining(requests, library) == []
    assert report.failed == {"bad": {"it has a cold": 4}} and report.generated == {"positive": 20}
    assert "4 clips failed; trying other engines" in reporter.warnings
    assert "bad: 4 clips failed: it has a cold" in reporter.warnings
    assert max(Counter(good.spoken + bad.spoken).values()) == 1
    by_id = {clip.request_id: clip for clip in library.iter_clips()}
    assert by_id["run:positive:3"].engine == "good" and by_id["run:positive:5"].engine == "bad"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "no such program", "bad")])
def test_an_engine_that_stops_does_not_end_the_run(library: Library, error: Exception) -> None:
    good, bad = Choir("good"), Choir("bad")
    bad.fails = lambda r: error if r.request_id.endswith("5") else None
    requests = [request(n, ("good", "bad")[n % 2], ("good", "bad")[n % 2] + "-1/bass") for n in range(20)]
    report, reporter = speak(requests, {"good": good, "bad": bad}, library)
    assert remaining(requests, library) == [], "the other engine took its remaining requests"
    (why,) = report.failed["bad"]
    assert "the engine stopped" in why and type(error).__name__ in why and "bad stopped" in reporter.warnings
    assert good.closed == bad.closed == 1


@pytest.mark.parametrize("wrong", ["run:positive:99", "run:positive:1"])
def test_an_unrequested_clip_is_an_error_of_its_engine(library: Library, wrong: str) -> None:
    class Confused(Choir):
        """An engine whose sixth clip has the id of none of its requests, or that of its first."""

        def synthesize(self, requests: Any, folder: Path) -> Iterator[Any]:
            for number, clip in enumerate(super().synthesize(requests, folder)):
                yield replace(clip, request_id=wrong) if number == 5 else clip

    good, confused = Choir("good"), Confused("confused")
    engines = {"good": good, "confused": confused}
    requests = [request(n, *(("good", "good-1/bass"), ("confused", "confused-1/bass"))[n % 2]) for n in range(20)]
    report, reporter = speak(requests, engines, library)
    assert remaining(requests, library) == [] and report.generated == {"positive": 20}
    assert [clip.engine for clip in library.iter_clips()].count("confused") == 5
    (why,) = report.failed["confused"]
    assert f"confused answered the request {wrong!r}" in why and f"{wrong!r}" in reporter.warnings


def test_a_voice_of_another_split_never_takes_over(library: Library) -> None:
    """The only other engine is in the test only, so failures in training stay unspoken."""
    good, bad = Choir("good"), Choir("bad")
    plan = plan_of([], {"good": good, "bad": bad})
    splits = run_splits(plan, {"good": good, "bad": bad})
    bad.fails = lambda r: "no"
    requests = [
        request(n, "bad", splits.voices[split]["bad"][0][0].name, split=split)
        for n, split in enumerate(["train", "validation", "test"] * 4)
    ]
    speak(requests, {"good": good, "bad": bad}, library)
    split_of_id = {r.request_id: r.split for r in requests}
    clips = list(library.iter_clips())
    assert len(clips) == 12
    assert all(splits.split_of_speaker(clip.speaker) == split_of_id[str(clip.request_id)] for clip in clips)


def test_the_reason_is_reported_if_no_engine_can_speak(library: Library) -> None:
    engines = {"alpha": Choir("alpha"), "beta": Choir("beta", speakers=1)}
    for engine in engines.values():
        engine.fails = lambda r: "there is no voice in it"
    # Only alpha has a voice for the validation split, so nothing is tried again there.
    requests = [request(n, "alpha", "alpha-1/alto", split="validation") for n in range(5)]
    reporter = Watched()
    with pytest.raises(HarkError, match="No speech engine could synthesize") as raised:
        generate(plan_of(requests, engines), engines, library, reporter)
    assert "alpha: there is no voice in it" in raised.value.why and "other engines" not in reporter.warnings
    assert [engine.closed for engine in engines.values()] == [1, 1]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_ends_the_run(library: Library, code: int) -> None:
    good, bad = Choir("good"), Choir("bad")
    bad.fails = lambda r: OSError(code, os.strerror(code), "clips") if r.request_id.endswith("5") else None
    requests = [request(n, ("good", "bad")[n % 2], ("good", "bad")[n % 2] + "-1/bass") for n in range(20)]
    with pytest.raises(HarkError, match="speech synthesis stopped"):
        speak(requests, {"good": good, "bad": bad}, library)
    kept = len(list(library.iter_clips()))
    assert kept + len(remaining(requests, library)) == 20 and check_library(library, left_over_after_s=0).ok
    bad.fails = lambda r: None
    speak(requests, {"good": good, "bad": bad}, library)
    assert remaining(requests, library) == [] and len(list(library.iter_clips())) == 20


def test_a_disk_that_fills_up_leaves_the_library_intact(small_disk: Path) -> None:
    requests = [request(n, "alpha", "alpha-1/alto") for n in range(200)]
    with Library(small_disk) as library:
        with pytest.raises(HarkError, match="disk is full"):
            speak(requests, {"alpha": Choir("alpha")}, library)
        assert check_library(library, left_over_after_s=0).ok
        assert not list((small_disk / "tmp").iterdir())


# With real worker processes.


@pytest.fixture
def fake_and_espeak() -> Iterator[dict[str, Engine]]:
    fake, espeak = Fake(), Espeak()
    if not espeak.available().ok:
        pytest.skip(f"espeak is not ready: {espeak.available().why}")
    fake.request_timeout_s = 1.0
    engines: dict[str, Engine] = {"espeak": espeak, "fake": fake}
    yield engines
    for engine in engines.values():
        engine.close()


def test_other_engines_replace_clips_of_failing_workers(library: Library, fake_and_espeak: dict[str, Engine]) -> None:
    voice = fake_and_espeak["espeak"].voices("en")[0].name
    troubles = ["crash", "hang", "noise", "silence", "nonsense", "refuse"]
    requests = [request(n, "fake", "low", behave) for n, behave in enumerate([*troubles, "", ""])]
    requests += [request(n, "espeak", voice) for n in range(8, 16)]
    report, reporter = speak(requests, fake_and_espeak, library)
    assert remaining(requests, library) == []
    whys = " ".join(report.failed["fake"])
    for why in ("SIGSEGV", "did not answer", "noise", "silent", "invalid answer", "refuse"):
        assert why in whys
    assert "6 clips failed; trying other engines" in reporter.warnings
    assert Counter(clip.engine for clip in library.iter_clips()) == {"espeak": 14, "fake": 2}


def test_a_worker_on_a_full_disk_ends_the_run(library: Library, fake_and_espeak: dict[str, Engine]) -> None:
    requests = [request(0, "fake", "low"), request(1, "fake", "low", "full disk")]
    with pytest.raises(HarkError, match="disk is full"):
        speak(requests, fake_and_espeak, library)


KILLED = """
import os, signal, sys
from pathlib import Path
from db import db_api
from db.db_api import Library
from tests.support.fake_engine import Fake
from core.events import Reporter
from pipeline.training.clips.synthesis import generate
from tests.support.planned_speech import plan_of, request
db_api.BATCH_CLIPS = 8
def sink(event):
    if event["event"] == "progress" and event["done"] >= {after}:
        os.kill(os.getpid(), signal.SIGKILL)
fake = Fake()
requests = [request(n, "fake", "low") for n in range(60)]
with Library(Path({data!r})) as library:
    generate(plan_of(requests, {{"fake": fake}}), {{"fake": fake}}, library, Reporter(sink))
"""


def test_a_killed_synthesis_generates_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    code = KILLED.format(data=str(data), after=20)
    # Progress is reported at most a few times a second; the kill comes with the first event after 20 clips.
    done = run_python(code)
    requests = [request(n, "fake", "low") for n in range(60)]
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Library(data) as library:
        todo = remaining(requests, library)
        assert 0 < len(todo) < 60, "the kill came between two stored clips"
        second = Choir("fake", people=["low"])
        second.voices = lambda language: [Voice("fake", "low", "en", "fake-low", "CC0-1.0", "fake")]
        spoken, _ = speak(requests, {"fake": second}, library)
        assert sorted(second.spoken) == sorted(r.request_id for r in todo), "only missing clips"
        assert spoken.generated == {"positive": len(todo)}
        assert check_library(library, left_over_after_s=0, repair=True).ok
        assert not list((data / "tmp").iterdir()), "partial files of the killed run are removed"
    with sqlite3.connect(data / "library.sqlite3") as connection:
        counts = connection.execute("SELECT request_id, COUNT(*) FROM clip GROUP BY request_id").fetchall()
    assert len(counts) == 60 and all(count == 1 for _, count in counts)


def test_clips_of_unreliable_engines_are_stored_only_if_intelligible(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    choir = Choir("alpha")
    choir.unsure = True
    scores = iter([0.9, 0.05, 0.5, 0.1])
    monkeypatch.setattr("pipeline.scoring.keyword_scoring.intelligible", lambda audio, text, language: next(scores))
    voice = choir.voices("en")[0].name
    plan = plan_of([request(number, "alpha", voice) for number in range(4)], {"alpha": choir})
    report = generate(plan, {"alpha": choir}, library, Watched())
    assert report.generated == {"positive": 2} and len(library.search("hey compass", 9)) == 2
    ((why, count),) = report.failed["alpha"].items()
    assert count == 2 and "understood" in why
