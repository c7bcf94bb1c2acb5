"""The plan: clips wanted, present and to be made, and by which engine; decided once, the same every time."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_generation.engine import Voice
from core.errors import HarkError
from core.readiness import Readiness
from db.db_api import Library
from db.records import Clip, NewClip, real_speaker
from model.feature_rows import SPLITS
from phrase_augmentation.matching import phrase_sounds_in
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from pipeline.training.configuration.efforts import BUCKETS, Effort
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.clip_choice import PlannedClip, real_negatives
from pipeline.training.planning.demand import VALIDATION_POSITIVES, CalibrationDemand, TrainingDemand, demand_of
from pipeline.training.planning.marked import FALSE_ALARM_OF
from pipeline.training.planning.plan import (
    Plan,
    draw_requests,
    draw_voice,
    load_plan,
    make_plan,
    ready_engines,
    remaining,
    run_splits,
    run_texts,
    save_plan,
)
from pipeline.training.planning.splits import split_of, split_voices
from pipeline.training.recipes import recipe_of
from pipeline.training.workspace.run_folder import RunFolder
from tests.support.choir import Choir, new_clip

pytestmark = pytest.mark.usefixtures("choirs", "tiny_effort")

GROWTH = 5  # of the effort "tiny"
CONFIG = RunConfig("hey compass", effort="tiny", from_scratch=True)
CALIBRATED = replace(CONFIG, from_scratch=False, seed=1)  # with texts in every split


def plan_of(library: Library, config: RunConfig = CONFIG, run: str = "run-1") -> Plan:
    return make_plan(config, run_texts(config, library), run, library)


def speak(plan: Plan, library: Library) -> None:
    """Store the plan's clips as if engines had spoken them."""
    library.add_clips(
        new_clip(r.text, r.voice.split("/")[0], r.engine, 0.3, request_id=r.request_id) for r in plan.requests
    )


def test_an_empty_library_needs_all_clips_of_the_effort(library: Library) -> None:
    plan = plan_of(library)
    assert [row.bucket for row in plan.buckets] == list(BUCKETS)
    for row in plan.buckets:
        size = recipe_of(CONFIG).bucket_size(row.bucket)
        assert 0 < len(row.texts) <= size.phrases and row.clips_per_phrase == size.clips_per_phrase
        assert abs(row.target - len(row.texts) * size.clips_per_phrase) <= 1
        assert (row.reused, row.mined, row.generate) == (0, 0, max(GROWTH, row.target))
        mine = [request for request in plan.requests if request.bucket == row.bucket]
        assert len(mine) == row.generate == sum(row.by_engine.values())
        assert {request.text for request in mine} <= set(row.texts)
        if row.bucket != "positive":
            assert not any(phrase_sounds_in("hey compass", normalize(text, "en"), "en") for text in row.texts)
    assert plan.engines == {"alpha": 12, "beta": 9, "gamma": 4} and plan.held_out == "gamma"
    assert plan.estimate_s > 0


def test_request_ids_are_unique_and_name_run_and_bucket(library: Library) -> None:
    plan = plan_of(library, run="some-run")
    ids = [request.request_id for request in plan.requests]
    assert len(set(ids)) == len(ids) > 50
    assert all(request.request_id.startswith(f"some-run:{request.bucket}:") for request in plan.requests)


def test_plans_are_deterministic_per_seed(library: Library) -> None:
    assert plan_of(library) == plan_of(library)
    assert plan_of(library).requests != plan_of(library, replace(CONFIG, seed=1)).requests


def test_voices_and_negative_texts_belong_to_the_same_split(library: Library, choirs: dict[str, Choir]) -> None:
    plan = plan_of(library)
    splits = run_splits(plan, choirs)
    for request in plan.requests:
        assert splits.split_of_speaker(request.voice.split("/")[0]) == request.split
        if request.bucket != "positive":
            assert split_of(normalize(request.text, "en")) == request.split
        if request.engine == plan.held_out:
            assert request.split == "test"
    assert {request.split for request in plan.requests if request.bucket == "positive"} == set(SPLITS)


def test_a_small_number_of_plain_negatives_leaves_no_split_empty(choirs: dict[str, Choir]) -> None:
    voices = {name: engine.voices("en") for name, engine in choirs.items()}
    named = [f"sentence {n}" for n in range(40)]
    texts = [PhraseText(text, "generated") for text in named if split_of(text) == "train"][:4]
    for config, needed in ((CONFIG, SPLITS), (CALIBRATED, SPLITS[1:])):
        demand = demand_of(config)
        found = demand.texts_of_splits("plain_negative", texts, split_voices(voices, "none", demand.learns))
        assert all(found[split] for split in needed)
        assert sorted(text for split in found.values() for text in split) == sorted(text.text for text in texts)


def test_a_calibrated_detector_requests_only_test_clips(
    library: Library, choirs: dict[str, Choir], tiny_effort: Effort
) -> None:
    plan = plan_of(library, CALIBRATED)
    asked = Counter((request.bucket, request.split) for request in plan.requests)
    assert asked["positive", "test"] == tiny_effort.test_clips
    assert {split for bucket, split in asked if bucket != "plain_negative"} == {"test"}
    assert {split for bucket, split in asked if bucket == "plain_negative"} == {"validation", "test"}
    voices = run_splits(plan, choirs).voices
    assert not voices["train"] and set(voices["test"]) == {"alpha", "beta", "gamma"}
    assert sum(asked.values()) < len(plan_of(library).requests)


def test_a_large_detector_reserves_positives_for_validation(library: Library, tiny_effort: Effort) -> None:
    plan = plan_of(library, replace(CALIBRATED, size="large"))
    asked = Counter((request.bucket, request.split) for request in plan.requests)
    assert asked["positive", "test"] + asked["positive", "validation"] == tiny_effort.test_clips
    assert asked["positive", "test"] >= 0.75 * tiny_effort.test_clips and asked["positive", "validation"]
    assert {split for bucket, split in asked if bucket in ("confusable", "inbetween")} == {"test"}


def test_a_device_detector_learns_from_voices_that_are_not_in_the_test(library: Library, tiny_effort: Effort) -> None:
    plan = plan_of(library, replace(CALIBRATED, devices=("esphome",)))
    for bucket, size in zip(BUCKETS, tiny_effort.small_buckets):
        assert plan.bucket(bucket).target <= size.phrases * size.clips_per_phrase
    voices = {split: {r.voice for r in plan.requests if r.split == split} for split in SPLITS}
    assert all(voices.values()) and not voices["train"] & voices["test"]
    said = Counter(r.split for r in plan.requests if r.bucket == "positive")
    assert said["train"] > said["test"] > 0


def test_a_retraining_reserves_positives_for_validation(library: Library, tiny_effort: Effort) -> None:
    plan = plan_of(library, replace(CALIBRATED, start_from="an earlier run"))
    splits = Counter(request.split for request in plan.requests if request.bucket == "positive")
    assert splits == {"validation": VALIDATION_POSITIVES, "test": tiny_effort.test_clips}


def test_a_calibrated_detectors_test_has_people_but_no_marked_errors(library: Library, tiny_effort: Effort) -> None:
    take = {"recorded": True, "role": "train"}
    one, _missed, two = library.add_clips(
        [
            new_clip("hey compass", "ann", "corpus", source="recorded:1", settings=take),
            new_clip("hey compass", "ann", "corpus", source="inbox:2", settings=take),
            new_clip("hey compass", "bob", "corpus", source="words:3"),
        ]
    )
    positive = [clip for clip in plan_of(library, CALIBRATED).clips if clip.bucket == "positive"]
    assert positive == [PlannedClip(one, "positive", "test"), PlannedClip(two, "positive", "test")]
    row = plan_of(library, CALIBRATED).bucket("positive")
    assert (row.reused, row.mined, row.generate) == (0, 2, tiny_effort.test_clips - 2)


@pytest.mark.parametrize("run", ["run-2", "run-1"], ids=["another run", "a run named like a deleted one"])
def test_existing_clips_are_reused_and_a_few_new_ones_requested(library: Library, run: str) -> None:
    first = plan_of(library)
    speak(first, library)
    second = plan_of(library, run=run)
    for before, now in zip(first.buckets, second.buckets):
        assert now.texts == before.texts
        assert now.generate == GROWTH and now.reused == min(now.target, before.generate)
    assert remaining(second.requests, library) == list(second.requests)
    assert not {r.request_id for r in first.requests} & {r.request_id for r in second.requests}


@pytest.mark.parametrize(
    "changed",
    [{}, {"size": "large"}, {"start_from": "an earlier run"}, {"devices": ("esphome",)}],
    ids=["calibrated", "large", "retrained", "trained"],
)
def test_no_speaker_is_in_two_splits(library: Library, choirs: dict[str, Choir], changed: dict[str, Any]) -> None:
    readers = [f"reader {n}" for n in range(12)]
    choirs["joined"] = Choir("joined", people=readers)  # like splice, its voices are speakers of the library
    config = replace(CALIBRATED, **changed)
    first = plan_of(library, config)
    speak(first, library)
    alarm = {"text_known": False, "settings": {FALSE_ALARM_OF: config.phrase}}
    for number, reader in enumerate(readers[::2]):
        library.add_clips(
            [
                new_clip("hey compass", reader, "corpus", source=f"words:{reader}"),
                new_clip(first.bucket("confusable").texts[0], reader, "corpus", source=f"names:{reader}"),
                imported(number, reader, f"a sentence by {reader}"),
                new_clip("", reader, "corpus", 2.0, source=f"inbox:{reader}", **alarm),
            ]
        )
    plan = plan_of(library, config, "run-2")
    split_of_clip = {planned.clip_id: planned.split for planned in plan.clips}
    placed = {(real_speaker(clip), split_of_clip[clip.id]) for clip in library.clips(list(split_of_clip))}
    assert len(placed) > 15
    placed |= {(request.voice.split("/")[0], request.split) for request in plan.requests}
    splits = Counter(speaker for speaker, _ in placed)
    assert {speaker: count for speaker, count in splits.items() if count > 1} == {}


def test_a_second_phrase_reuses_the_first_ones_plain_negatives(library: Library) -> None:
    speak(plan_of(library), library)
    other = plan_of(library, replace(CONFIG, phrase="open sesame"), "run-2")
    plain = other.bucket("plain_negative")
    assert other.bucket("positive").reused == 0
    assert plain.reused > 0.5 * plain.target
    assert plain.generate == max(GROWTH, plain.target - plain.reused) < plain.target


def test_clips_that_the_run_will_not_use_are_not_counted_as_reused(library: Library) -> None:
    library.add_clips(new_clip("hey compass", f"s{n}", "an engine that is gone", 0.3) for n in range(50))
    positive = plan_of(library).bucket("positive")
    assert positive.reused == 0 and positive.generate == positive.target


def test_texts_with_few_clips_are_requested_first(choirs: dict[str, Choir]) -> None:
    splits = split_voices({name: engine.voices("en") for name, engine in choirs.items()})
    existing = {"one": 5, "two": 1, "three": 0, "four": 2}
    rng = np.random.default_rng(0)
    ids = (f"r:{number}" for number in range(8))
    requests = draw_requests(ids, "confusable", "train", list(existing), 8, splits, choirs, rng, existing, 0.6)
    counts = {text: existing[text] + sum(r.text == text for r in requests) for text in existing}
    assert counts == {"one": 5, "two": 4, "three": 4, "four": 3}


def run_in(data: Path) -> RunFolder:
    run = RunFolder(data, "run")
    run.path.mkdir(parents=True)
    return run


def test_a_plan_round_trips_through_its_file(library: Library, tmp_path: Path) -> None:
    plan = plan_of(library, replace(CONFIG, engines=("alpha", "beta")))
    run = run_in(tmp_path)
    save_plan(plan, run.plan)
    assert load_plan(run.plan) == plan
    summary = json.loads(json.dumps(plan.summary()))
    assert summary["phrase"] == "hey compass" and summary["engines"] == {"alpha": 12, "beta": 9}
    assert summary["buckets"]["confusable"]["generate"] == plan.bucket("confusable").generate
    assert run.config() == plan.config and RunFolder(tmp_path, "gone").config() is None


def test_a_plan_of_an_earlier_version_still_gives_its_configuration(tmp_path: Path) -> None:
    earlier = {"run": "r", "config": asdict(CONFIG), "buckets": [], "requests": [], "real_clips": [4], "real_hours": 0}
    run = run_in(tmp_path)
    run.plan.write_text(json.dumps(earlier))
    assert load_plan(run.plan) is None and run.config() == CONFIG


def test_remaining_excludes_finished_requests(library: Library) -> None:
    plan = plan_of(library)
    assert remaining(plan.requests, library) == list(plan.requests)
    done = plan.requests[:7]
    library.add_clips(new_clip(r.text, "s", r.engine, 0.3, request_id=r.request_id) for r in done)
    assert remaining(plan.requests, library) == list(plan.requests[7:])


# Real recordings.


def imported(number: int, speaker: str, text: str, **more: object) -> NewClip:
    return new_clip(text, speaker, "corpus", 10.0, source=f"corpus:{number}", **more)


def test_real_speech_replaces_at_most_half_of_the_negatives(library: Library, tiny_effort: Effort) -> None:
    library.add_clips(imported(n, f"s{n % 9}", f"sentence number {n}") for n in range(40))
    plan = plan_of(library)
    plain = plan.bucket("plain_negative")
    real = [clip for clip in plan.clips if clip.bucket == "plain_negative"]
    assert plain.mined == len(real) > 10
    assert plan.real_hours <= tiny_effort.corpus_hours + 10 / 3600
    assert plain.reused == 0, "a real recording is not counted again because its transcript is among the texts"
    assert plain.target - plain.target // 2 <= plain.generate < plain.target
    without = plan_of(library, replace(CONFIG, mining=False))
    assert without.clips == () and without.bucket("plain_negative").mined == 0


def test_real_negatives_exclude_the_phrase_and_balance_speakers(library: Library) -> None:
    library.add_clips(imported(n, "talker", f"sentence number {n}") for n in range(30))
    library.add_clips(imported(100 + n, f"s{n}", f"hey compass {n}") for n in range(5))
    library.add_clips([imported(200, "unknown", "", text_known=False)])
    library.add_clips(imported(300 + n, f"other {n % 3}", f"another sentence {n}") for n in range(12))
    clips, hours = real_negatives(library, CONFIG)
    assert clips and hours == pytest.approx(sum(c.duration_s for c in clips) / 3600)
    assert not any("hey compass" in clip.text_normalized for clip in clips)
    each = {name: sum(clip.speaker == name for clip in clips) for name in ("talker", "other 0", "other 1", "other 2")}
    assert 18 <= len(clips) <= 19, "three minutes of ten seconds each"
    assert set(list(each.values())[1:]) == {4} and each["talker"] == len(clips) - 13, (
        "all clips of speakers with few are used"
    )
    assert any(clip.speaker == "unknown" for clip in clips)


Rows = list[tuple[str, str, float]]


class Recordings:
    """A library of real recordings alone, by speaker ("" for unknown), corpus and seconds; it contains no audio."""

    def __init__(self, recordings: Rows) -> None:
        self.clips = [
            Clip(
                number, f"{number}.flac", str(number), seconds, 16_000, "words", "words", bool(speaker), "en", "corpus",
                "", "", speaker, "CC0-1.0", {}, None, f"{corpus}:{number}.wav", None, None, None, "", "ready",
            )
            for number, (speaker, corpus, seconds) in enumerate(recordings)
        ]  # fmt: skip

    def iter_clips(self, where: object) -> list[Clip]:
        return self.clips


def used_of(recordings: Rows, seed: int = 0) -> list[Clip]:
    return real_negatives(Recordings(recordings), replace(CONFIG, effort="trial", seed=seed))[0]  # type: ignore[arg-type]


def people(count: int, each: int, seconds: float, corpus: str = "people") -> Rows:
    return [(f"{corpus}-{person}", corpus, seconds) for person in range(count) for _ in range(each)]


def nobodies(count: int, seconds: float, corpus: str = "found") -> Rows:
    return [("", corpus, seconds)] * count


LIMIT_S = 0.3 * 3600  # seconds of real speech in a trial


@pytest.mark.parametrize(
    "added",
    [nobodies(300, 5.0), people(1, 300, 5.0), people(300, 1, 5.0), people(40, 10, 5.0), nobodies(1, 5.0)],
    ids=["unlabelled", "one more speaker", "many speakers", "a corpus", "a single file"],
)
@pytest.mark.parametrize(
    "there",
    [people(1, 500, 5.0, "lj"), people(1, 100, 5.0, "lj"), people(5, 30, 5.0, "few"), nobodies(500, 5.0, "radio")],
    ids=["more than enough of one", "little of one", "little of five", "unlabelled"],
)
def test_an_import_never_lowers_how_many_real_clips_are_used(there: Rows, added: Rows) -> None:
    before, after = used_of(there), used_of([*there, *added])
    assert len(after) >= len(before)
    assert len(after) == min(len(there) + len(added), LIMIT_S / 5.0)


REAL = st.lists(st.tuples(st.sampled_from(["", "", *"abcdefgh"]), st.sampled_from(["x", "y"]), st.integers(1, 30)))


@settings(max_examples=300, deadline=None)
@given(REAL, REAL, st.sampled_from([1, 10, 60]), st.integers(0, 3))
def test_real_hours_reach_the_limit_or_use_the_whole_library(there: Rows, added: Rows, times: int, seed: int) -> None:
    before, after = used_of(there * times, seed), used_of([*there * times, *added], seed)
    for library, used in ((there * times, before), ([*there * times, *added], after)):
        seconds = sum(clip.duration_s for clip in used)
        assert len({clip.id for clip in used}) == len(used)
        assert seconds < LIMIT_S + 30
        assert seconds >= LIMIT_S or len(used) == len(library)
    said = sum(clip.duration_s for clip in before)
    assert sum(clip.duration_s for clip in after) >= min(said, LIMIT_S)
    if said < LIMIT_S and len(after) == len(there * times) + len(added):
        assert {clip.id for clip in before} <= {clip.id for clip in after}


def test_files_without_a_speaker_do_not_crowd_out_speakers() -> None:
    used = used_of([*people(9, 100, 5.0), *nobodies(5000, 5.0)])
    by_voice = {voice: sum(clip.speaker == voice for clip in used) for voice in {clip.speaker for clip in used}}
    assert len(by_voice) == 10 and max(by_voice.values()) - min(by_voice.values()) <= 1


# Engines.


def test_missing_engines_are_reported_and_named_ones_required(choirs: dict[str, Choir]) -> None:
    choirs |= {"broken": Choir("broken"), "paid": Choir("paid")}
    choirs["broken"].available = lambda: Readiness(False, "it has no weights.", "./hark engines enable broken")
    choirs["paid"].by_default = False
    ready, missing = ready_engines((), "en")
    assert set(ready) == {"alpha", "beta", "gamma"} and missing == {"broken": "it has no weights."}
    assert set(ready_engines(("paid", "alpha"), "en")[0]) == {"paid", "alpha"}
    for name, why in (("broken", "no weights"), ("nobody", "Hark has")):
        with pytest.raises(HarkError) as raised:
            ready_engines((name,), "en")
        assert why in raised.value.why and raised.value.what_to_do
    with pytest.raises(HarkError, match="language 'tlh'"):
        ready_engines((), "tlh")
    with pytest.raises(HarkError, match="no voice for the language 'tlh'"):
        ready_engines(("alpha",), "tlh")


def test_too_few_voices_are_rejected_before_synthesis(library: Library, choirs: dict[str, Choir]) -> None:
    choirs.clear()
    choirs["alpha"] = Choir("alpha", 2)
    with pytest.raises(HarkError, match="cannot be trained") as raised:
        plan_of(library)
    assert "validation" in raised.value.why


class TestAudition:
    """Engines that are not always understood speak the phrase first."""

    @pytest.fixture(autouse=True)
    def hears(self, choirs: dict[str, Choir], monkeypatch: pytest.MonkeyPatch) -> None:
        """The recognizer understands gamma, and one clip of beta."""
        choirs["beta"].unsure = choirs["gamma"].unsure = True
        self.heard: list[float] = []

        def intelligible(audio: np.ndarray, text: str, language: str) -> float:
            self.heard.append(len(audio))
            by_beta = choirs["beta"].spoken and not choirs["beta"].closed
            return 0.9 if not by_beta or len(self.heard) == 1 else 0.01

        monkeypatch.setattr("pipeline.scoring.keyword_scoring.intelligible", intelligible)
        one_by_one = nullcontext(SimpleNamespace(map=map))
        monkeypatch.setattr("pipeline.training.planning.audition.ThreadPoolExecutor", lambda workers: one_by_one)

    def test_an_engine_that_cannot_say_the_phrase_is_excluded_and_reported(
        self, library: Library, choirs: dict[str, Choir]
    ) -> None:
        plan = plan_of(library)
        assert set(plan.engines) == {"alpha", "gamma"}
        assert plan.summary()["engines_missing"]["beta"] == (
            "it cannot say “hey compass”: 3 of 4 clips were unintelligible"
        )
        assert {request.engine for request in plan.requests} == {"alpha", "gamma"}
        assert choirs["alpha"].spoken == [], "the engine is reliable"
        assert not list((library.data_dir / "tmp").iterdir()) and choirs["beta"].closed == 1

    def test_an_engine_is_scored_once_per_phrase(self, library: Library) -> None:
        first = plan_of(library)
        assert len(self.heard) == 8
        assert plan_of(library).engines_missing == first.engines_missing and len(self.heard) == 8
        plan_of(library, replace(CONFIG, phrase="hey compact"))
        assert len(self.heard) == 16, "another phrase is scored separately"

    def test_an_engine_that_crashes_is_not_marked_unintelligible(
        self, library: Library, choirs: dict[str, Choir]
    ) -> None:
        choirs["beta"].fails = lambda request: "it crashed"
        assert set(plan_of(library).engines) == {"alpha", "beta", "gamma"}
        choirs["beta"].fails, choirs["beta"].closed = (lambda request: None), 0
        assert "beta" not in plan_of(library).engines, "a crash is not stored as a score"

    def test_a_damaged_clip_of_an_engine_does_not_end_the_planning(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(path: Path) -> np.ndarray:
            raise HarkError("It cannot be read.", "It is empty.", "Make it again.")

        monkeypatch.setattr("pipeline.training.planning.audition.read_audio", read)
        assert set(plan_of(library).engines) == {"alpha", "beta", "gamma"}

    def test_planning_fails_if_no_engine_can_say_the_phrase(self, library: Library) -> None:
        with pytest.raises(HarkError, match="No speech engine can say 'hey compass'") as raised:
            plan_of(library, replace(CONFIG, engines=("beta",)))
        assert "beta: it cannot say" in raised.value.why


def test_engines_are_weighted_by_voices_kind_and_speed() -> None:
    voice = Voice("any", "voice", "en", "somebody", "", "")
    engines = {"espeak": 4, "hibari": 4, "kokoro_int8": 4, "piper": 1}
    by_engine = {name: [[voice]] * people for name, people in engines.items()}

    def spoken(slow_clip_s: float) -> Counter[str]:
        rng = np.random.default_rng(0)
        return Counter(draw_voice(by_engine, rng, slow_clip_s)[0] for _ in range(5000))

    learned, measured = spoken(TrainingDemand.slow_clip_s), spoken(CalibrationDemand.slow_clip_s)
    assert learned["hibari"] == pytest.approx(2 * learned["piper"], rel=0.1)
    assert learned["espeak"] == pytest.approx(learned["piper"], rel=0.1)
    assert learned["kokoro_int8"] == pytest.approx(learned["hibari"], rel=0.1)
    assert measured["kokoro_int8"] < 0.5 * measured["hibari"]
