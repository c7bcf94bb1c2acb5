"""The clips of a run and their examples: every voice and text on its own side of the split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from db.db_api import Library
from pipeline.training.clips.examples import (
    CLIP_COLUMNS,
    WINDOW_S,
    ExamplePlan,
    clip_table,
    plan_examples,
    window_seconds,
)
from pipeline.training.configuration.efforts import BUCKETS, Effort
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.plan import Plan, make_plan, run_splits, run_texts
from pipeline.training.planning.splits import split_of
from pipeline.training.recipes import recipe_of
from tests.support.choir import new_clip

CONFIG = RunConfig("hey compass", effort="tiny", from_scratch=True)
RECEPTIVE, PHRASE_S = 32_000, 0.8


def examples_of(plan: Plan, clips: pd.DataFrame, noise: Path | None = None) -> ExamplePlan:
    variants = recipe_of(plan.config).variants
    return plan_examples(plan.config, clips, noise, RECEPTIVE, PHRASE_S, variants)


def speaker_of(voice: str) -> str:
    return voice.split("/")[0]


@pytest.fixture
def plan(library: Library, choirs: dict[str, Any], tiny_effort: Effort) -> Plan:
    """A completed plan, over a library with eight real recordings."""
    library.add_clips(new_clip(f"a sentence {n}", f"reader {n}", "corpus", 4.0, source=f"corpus:{n}") for n in range(8))
    plan = make_plan(CONFIG, run_texts(CONFIG, library), "run-1", library)
    library.add_clips(
        new_clip(r.text, speaker_of(r.voice), r.engine, 0.5, request_id=r.request_id) for r in plan.requests
    )
    return plan


@pytest.fixture
def clips(plan: Plan, library: Library) -> pd.DataFrame:
    return clip_table(plan, library)


def test_the_table_lists_every_clip_once(plan: Plan, clips: pd.DataFrame) -> None:
    assert tuple(clips.columns) == CLIP_COLUMNS and clips["clip_id"].is_unique
    assert len(clips) == len(plan.requests) + len(plan.clips)
    assert set(clips["bucket"]) == set(BUCKETS)
    assert (clips["label"] == (clips["bucket"] == "positive")).all()
    assert all(Path(path).is_file() for path in clips["path"])
    assert (clips[clips["engine"] != "corpus"]["reused"] == 0).all()


def test_no_voice_or_confusable_is_in_two_splits(plan: Plan, clips: pd.DataFrame) -> None:
    assert (clips.groupby("speaker")["split"].nunique() == 1).all()
    negatives = clips[(clips["bucket"] != "positive") & (clips["engine"] != "corpus")]
    assert (negatives["split"] == negatives["text"].map(split_of)).all()
    assert (clips[clips["engine"] == plan.held_out]["split"] == "test").all()
    assert set(clips[clips["bucket"] == "positive"]["split"]) == {"train", "validation", "test"}


def again(plan: Plan, library: Library, **changed: Any) -> pd.DataFrame:
    """The clips of the library that a second run of the phrase uses."""
    config = replace(plan.config, **changed)
    second = make_plan(config, run_texts(config, library), "run-2", library)
    return clip_table(second, library)


def test_clips_of_other_splits_and_engines_are_excluded(plan: Plan, library: Library, choirs: dict[str, Any]) -> None:
    splits = run_splits(plan, choirs)
    negative = next(r for r in plan.requests if r.bucket == "confusable")
    visitor = next(
        speaker for speaker, split in splits.speaker_split.items()
        if split != negative.split and not speaker.startswith(plan.held_out)
    )  # fmt: skip
    wrong, gone = library.add_clips(
        [
            new_clip(negative.text, visitor, visitor.split("-")[0], request_id="other:1"),
            new_clip("hey compass", "x", "an engine that is gone", request_id="other:2"),
        ]
    )
    table = again(plan, library)
    assert not set(table["clip_id"]) & {wrong, gone} and (table["reused"] == 1).all() and len(table) > 50


def test_mined_clips_are_used_with_the_position_of_the_phrase(plan: Plan, library: Library) -> None:
    parents = library.add_clips(
        new_clip(f"he said hey compass {n}", f"reader {n}", "corpus", 2.0, source=f"readers:{n}.wav") for n in range(12)
    )
    settings = {"phrase_start_s": 0.1, "phrase_end_s": 0.6}
    library.add_clips(
        new_clip("hey compass", f"reader {n}", "mined", 0.7, parent_id=parent, settings=settings)
        for n, parent in enumerate(parents)
    )
    new = make_plan(plan.config, run_texts(plan.config, library), "run-2", library)
    table = clip_table(new, library)
    cuts = table[table["engine"] == "mined"]
    assert len(cuts) >= 10 and (cuts["bucket"] == "positive").all() and (cuts["label"] == 1).all()
    assert (cuts["split"] == cuts["speaker"].map(split_of)).all() and (cuts["corpus"] == "readers").all()
    assert (cuts["phrase_end_s"] == 0.6).all() and (table[table["engine"] != "mined"]["phrase_end_s"] == -1.0).all()
    assert new.bucket("positive").mined == len(cuts), "clips mined before the plan replace synthesized ones"
    examples = examples_of(new, table)
    places = {spec.clips[0]: spec.place_s for spec in examples.specs if spec.aligned}
    assert {places[path] for path in cuts["path"]} == {(0.1, 0.6)}
    assert {place for path, place in places.items() if path not in set(cuts["path"])} == {None}
    assert not (again(plan, library, mining=False)["engine"] == "mined").any()


def test_a_library_that_has_grown_does_not_make_the_run_longer(plan: Plan, library: Library) -> None:
    library.add_clips(
        new_clip("hey compass", f"alpha-{n % 12}", "alpha", 0.2, request_id=f"other:{n}") for n in range(100)
    )
    table = again(plan, library)
    positive = plan.bucket("positive")
    assert (table["bucket"] == "positive").sum() <= positive.target
    pd.testing.assert_frame_equal(table, again(plan, library))


def test_an_added_recording_never_reduces_the_recordings_used(plan: Plan, library: Library) -> None:
    library.add_clips(
        new_clip("hey compass", f"alpha-{n % 12}", "alpha", 0.2, request_id=f"other:{n}") for n in range(60)
    )
    used = 0
    for number in range(12):
        library.add_clips([new_clip("hey compass", f"reader {number}", "corpus", 0.5, source=f"words:{number}.wav")])
        table = again(plan, library)
        real = int(((table["engine"] == "corpus") & (table["bucket"] == "positive")).sum())
        assert real >= used, f"recording {number + 1} has pushed out others"
        used = real
    assert used > 3


def test_examples_use_clips_of_their_own_split(plan: Plan, clips: pd.DataFrame, tmp_path: Path) -> None:
    examples = examples_of(plan, clips, tmp_path / "no such folder")
    split_of_path = dict(zip(clips["path"], clips["split"]))
    seeds = [spec.seed for spec in examples.specs]
    assert len(set(seeds)) == len(seeds)
    for spec in examples.specs:
        paths = [*spec.clips, *filter(None, (spec.before, spec.after))]
        assert {split_of_path[path] for path in paths} <= {spec.columns["split"]}
        assert (spec.condition == "train") == (spec.columns["split"] == "train")
        assert spec.receptive_samples == RECEPTIVE
        if spec.aligned:
            assert len(spec.clips) == 1 and spec.columns["bucket"] != "plain_negative"
            carried = spec.columns["bucket"] == "positive" and spec.columns["text"] != "hey compass"
            assert (spec.last_seconds > 0) == carried
        else:
            assert spec.columns["label"] == 0 and spec.columns["bucket"] == (
                "plain_negative" if spec.clips else "noise"
            )
            assert not spec.before and not spec.after
    babble = {split_of_path[path] for path in examples.sources.babble}
    assert babble <= {"train"} and examples.sources.noise_folder == ""


def test_every_clip_gets_its_examples(plan: Plan, clips: pd.DataFrame, tiny_effort: Effort) -> None:
    specs = examples_of(plan, clips).specs
    aligned = clips[clips["bucket"] != "plain_negative"]
    carried = (aligned["bucket"] == "positive") & (aligned["text"] != "hey compass")
    for split in ("train", "validation", "test"):
        of_split = [spec for spec in specs if spec.aligned and spec.columns["split"] == split]
        heard_alone = [spec for spec in of_split if not spec.before and not spec.after]
        own = aligned["split"] == split
        if split == "train":
            wanted = {"train": aligned[own]["path"].tolist() * tiny_effort.variants}
            assert 0 < len(heard_alone) < len(of_split)
        else:
            phrase = own & (aligned["bucket"] == "positive")
            alone, among = (aligned[phrase & mask]["path"].tolist() for mask in (~carried, carried))
            wanted = {"clean": alone, "noisy": alone, "far": among}
            assert all(spec.condition == "far" for spec in of_split if spec not in heard_alone)
            near = [spec for spec in of_split if spec.columns["bucket"] != "positive"]
            assert {spec.condition for spec in near} <= {"clean", "noisy"}
            assert sorted(spec.clips[0] for spec in near) == sorted(aligned[own & ~phrase]["path"])
            of_split = [spec for spec in of_split if spec.columns["bucket"] == "positive"]
        for condition, paths in wanted.items():
            assert sorted(spec.clips[0] for spec in of_split if spec.condition == condition) == sorted(paths)
        assert sum(map(len, wanted.values())) == len(of_split)
    streamed = [path for spec in specs if not spec.aligned for path in spec.clips]
    assert sorted(streamed) == sorted(clips[clips["bucket"] == "plain_negative"]["path"])
    for split in ("train", "validation", "test"):
        assert any(not spec.clips for spec in specs if spec.columns["split"] == split), "every split has noise alone"
    engine_of = dict(zip(clips["path"], clips["engine"]))
    assert all(len({engine_of[path] for path in spec.clips}) <= 1 for spec in specs)


def test_the_same_clips_give_the_same_examples(plan: Plan, clips: pd.DataFrame) -> None:
    assert examples_of(plan, clips) == examples_of(plan, clips)


def test_draws_do_not_depend_on_the_order_of_engines_or_on_one_clip(
    plan: Plan, library: Library, tmp_path: Path
) -> None:
    apart = next(request.request_id for request in plan.requests if request.bucket == "plain_negative")
    with Library(tmp_path / "again") as second:
        second.add_clips(
            new_clip(f"a sentence {n}", f"reader {n}", "corpus", 4.0, source=f"corpus:{n}") for n in range(8)
        )
        for r in reversed(plan.requests):
            clip = new_clip(r.text, speaker_of(r.voice), r.engine, 0.5, request_id=r.request_id)
            second.add_clips([replace(clip, audio=clip.audio * 0.99) if r.request_id == apart else clip])
        drawn = []
        for one in (library, second):
            clips = clip_table(plan, one)
            said = dict(zip(clips["path"], clips["text"] + "|" + clips["voice"]))
            examples = examples_of(plan, clips)
            specs = [([said[path] for path in spec.clips], spec.condition, spec.seed) for spec in examples.specs]
            drawn.append((list(said.values()), specs, [said[path] for path in examples.sources.babble]))
    assert drawn[0] == drawn[1]


def test_the_window_covers_the_phrase(clips: pd.DataFrame) -> None:
    window, phrase = window_seconds(clips, "hey compass")
    assert WINDOW_S[0] <= window <= WINDOW_S[1] and 0.3 < phrase <= window
    nobody = window_seconds(clips[clips["bucket"] != "positive"], "hey compass")
    assert WINDOW_S[0] <= nobody[0] <= WINDOW_S[1]
