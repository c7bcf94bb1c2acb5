"""Versions of a detector on one stream that none was trained on, and the result of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from db.db_api import Library, source_id
from db.records import NewClip
from model.checkpoint import save_checkpoint
from model.detector import Detector
from model.keyword_hmm import MATCH_FLOOR
from model.phones import outputs_of
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.clips.examples import clip_row
from pipeline.training.configuration.efforts import BUCKETS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.comparison import COMPARISON, Trained, compare_versions, unseen_clips
from pipeline.training.negatives.negative_set import NegativeSegment
from pipeline.training.negatives.negative_speech import NegativeSpeech
from pipeline.training.planning.marked import CORPUS, FALSE_ALARM_OF
from pipeline.training.planning.plan import BucketPlan, Plan, save_plan
from tests.support.choir import new_clip
from tests.support.untrained_bundle import spoken

PHRASE = "hey compass"
NEAR = "hey campus"  # confusable
CONFIG = RunConfig(PHRASE, effort="trial")


def plan_of(run: str, config: RunConfig = CONFIG) -> Plan:
    rows = tuple(BucketPlan(bucket, (PHRASE,), 1, 1, 0, 0, 1, {}) for bucket in BUCKETS)
    return Plan(run, config, rows, (), (), 0.0, {"choir": 3}, {}, "", 1.0)


def table_of(library: Library, splits: dict[int, str]) -> pd.DataFrame:
    """A run's table of clips: those with the phrase are positives."""
    rows = []
    for clip in library.clips(list(splits)):
        bucket = "positive" if clip.text_normalized == PHRASE else "plain_negative"
        rows.append(clip_row(library, clip, bucket, splits[clip.id], reused=False))
    return pd.DataFrame(rows)


def version(library: Library, run: str, splits: dict[int, str]) -> Trained:
    nothing: Any = None
    return Trained(run, nothing, 0.5, table_of(library, splits), plan_of(run), {})


def test_only_recordings_absent_from_all_training_are_scored(tmp_path: Path) -> None:
    def take(name: str, speaker: str, role: str) -> NewClip:
        source = source_id("recorded", name)
        return new_clip(PHRASE, speaker, "corpus", source=source, settings={"role": role})

    with Library(tmp_path) as library:
        ids = library.add_clips(
            [
                new_clip(PHRASE, "both"), new_clip(PHRASE, "changed"), new_clip(PHRASE, "changed", request_id="a:1"),
                new_clip("a river", "reader", "corpus", 2.0, source="r:1"), new_clip("a hill", "heard", "corpus", 2.0),
                new_clip("a lake", "", "corpus", 2.0, source="r:2"), new_clip(PHRASE, "rejected"),
                take("1", "user-1", "test"), take("2", "user-2", "train"), take("3", "user-2", "test"),
                take("4", "user-3", "train"), new_clip(PHRASE, "gone"),
            ]
        )  # fmt: skip
        both, changed, other, river, hill, lake, rejected, mine, given, theirs, later, gone = ids
        (cut,) = library.add_clips([new_clip(PHRASE, "", "mined", parent_id=lake)])
        old = version(library, "old", {both: "test", changed: "test", river: "test", hill: "train", cut: "test"})
        new = version(
            library, "new",
            {both: "test", other: "train", river: "test", hill: "validation", lake: "train", rejected: "test",
             given: "train", theirs: "test", gone: "test", mine: "test"},
        )  # fmt: skip
        library.set_state([rejected], "rejected")
        library.delete_clips([gone])
        found = unseen_clips([new, old], library, CONFIG)
        # Excluded: a training clip of the new run, a clip cut from one, and clips of a person in its training.
        # A take recorded after both runs is in neither.
        assert set(found["clip_id"]) == {both, river, mine, later}
        assert set(found["split"]) == {"test"} and found["clip_id"].is_unique
        assert found.set_index("clip_id")["label"].to_dict() == {both: 1, river: 0, mine: 1, later: 1}


class Runs:
    """Finished runs of one phrase in a data folder, whose detectors know only the phrase's phones."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.backbone, _ = shipped_backbone()
        with Library(data) as library:
            self.phrase, self.other, self.unused, _miss, _alarm = library.add_clips(
                [
                    replace(new_clip(PHRASE, "tester"), audio=spoken(PHRASE)),
                    replace(new_clip("a river", "tester", seconds=3.0), audio=spoken("the river runs to the sea")),
                    replace(new_clip(PHRASE, "trained"), audio=spoken(PHRASE, 0.5)),
                    self.marked(PHRASE, "a", {"role": "train"}),
                    self.marked("", "b", {FALSE_ALARM_OF: PHRASE}, NEAR),
                ]
            )

    @staticmethod
    def marked(text: str, name: str, settings: Any, said: str = PHRASE) -> NewClip:
        clip = new_clip(text, "user-1", "corpus", source=source_id(CORPUS, name), settings=settings)
        return replace(clip, audio=spoken(said))

    def add(
        self, run: str, threshold: float, negatives: Any = None, window_s: float = 1.2, backbone: Any = None
    ) -> None:
        backbone = backbone or self.backbone
        model = BackboneDetector.of_phrase(backbone, outputs_of(Keyphrase(PHRASE)), window_s)
        model = model.centred(MATCH_FLOOR + 0.1)  # everything that matches better than silence passes
        (self.data / "models" / run).mkdir(parents=True)
        manifest = {"thresholds": [{"fa_per_day": 12.0, "threshold": threshold, "extrapolated": False}]}
        save_checkpoint(model, str(self.data / "models" / run / "model.pt"), {"manifest": manifest})
        (self.data / "models" / run / "report.json").write_text(
            json.dumps({"negative_set": negatives} if negatives else {})
        )
        with Library(self.data) as library:
            table = table_of(library, {self.phrase: "test", self.other: "test", self.unused: "train"})
        (self.data / "jobs" / run).mkdir(parents=True)
        table.to_csv(self.data / "jobs" / run / "clips.csv", index=False)
        save_plan(plan_of(run), self.data / "jobs" / run / "plan.json")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr("pipeline.training.clips.examples.NOISE_BLOCKS", 4)
    monkeypatch.setattr("model.examples.room_pool", lambda count, seed: [np.eye(1, 8, dtype=np.float32)[0]])
    return Runs(tmp_path)


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    return {found["run"]: found for found in result["versions"]}


def test_versions_score_the_same_audio_at_their_own_thresholds(runs: Runs) -> None:
    runs.add("old", 1.1)  # detects nothing
    runs.add("new", 0.5, window_s=1.6)
    events: list[Event] = []
    result = compare_versions(["new", "old", "gone"], runs.data, Reporter(events.append))
    found = figures_of(result)
    assert list(found) == ["new", "old"] and result["asked"] == ["new", "old", "gone"]
    assert "gone" in result["left_out"]["gone"]
    stream = result["stream"]
    assert (stream["utterances"], stream["renderings"], stream["people"], stream["negative_hours"]) == (1, 2, 0, 0.0)
    assert stream["hours"] > 0 and (stream["marked"], stream["marked_misses"]) == (1, 1)
    assert found["old"]["miss_rate"]["all"]["value"] == 1.0 and found["new"]["miss_rate"]["all"]["value"] == 0.0
    assert found["old"]["miss_rate"]["all"]["low"] == pytest.approx(0.2065, abs=1e-3), (
        "the two renderings are one utterance"
    )
    assert (found["new"]["marked_fired"], found["new"]["marked_missed"]) == (1, 0)
    assert (found["old"]["marked_fired"], found["old"]["marked_missed"]) == (0, 1)
    assert found["old"]["false_alarms"] == 0 and found["old"]["hours"] == pytest.approx(stream["hours"], abs=0.001)
    assert result == json.loads((runs.data / "models/new" / COMPARISON).read_text())
    assert not list((runs.data / "jobs").glob("compare-*/streams"))
    told = [event for event in events if event["event"] == "progress"]
    assert told[-1]["done"] == told[-1]["total"], "the progress ends at its end"
    assert {event["name"] for event in events if event["event"] == "stage"} == {"gather", "listen"}


def test_the_negative_set_is_scored_if_all_versions_use_its_backbone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = NegativeSpeech().about()
    runs.add("old", 0.5, about)
    runs.add("new", 0.5, about)

    def few(
        self: NegativeSpeech, detector: Detector, keyphrase: Keyphrase, _: Path, __: Reporter, splits: Sequence[str]
    ) -> Any:
        assert keyphrase == Keyphrase(PHRASE)
        row = {"label": 0, "bucket": "plain_negative", "engine": "bank:x", "condition": "clean", "voice": "",
               "speaker": "", "clip_id": -1, "text": "", "phrase_start": -1, "phrase_end": -1}  # fmt: skip
        frames = np.zeros((9_000, runs.backbone.config.width), np.float16)  # three minutes
        return [NegativeSegment(frames, {**row, "split": split}) for split in splits]

    monkeypatch.setattr(NegativeSpeech, "segments", few)
    result = compare_versions(["new", "old"], runs.data, silent_reporter())
    assert result["stream"]["negative_hours"] == pytest.approx(0.05, abs=0.002), (
        "only the test split of the negative set"
    )
    first, second = result["versions"]
    assert {**first, "run": ""} == {**second, "run": ""}, "the same detector has the same figures"


def test_versions_on_different_backbones_score_the_same_audio(runs: Runs) -> None:
    import torch

    other, _ = shipped_backbone()
    with torch.no_grad():
        for values in other.parameters():
            values.add_(1e-4)
    runs.add("old", 0.5, {"name": "a negative set"})
    runs.add("new", 0.5, {"name": "a negative set"}, backbone=other)
    result = compare_versions(["new", "old"], runs.data, silent_reporter())
    assert result["stream"]["negative_hours"] == 0.0
    missed = [found["miss_rate"]["all"]["value"] for found in result["versions"]]
    assert missed == [0.0, 0.0]
    hours = [found["hours"] for found in result["versions"]]
    assert hours[0] == pytest.approx(hours[1])


@pytest.mark.parametrize(("asked", "what"), [(["new"], "needs two versions"), (["new", "other"], "needs two versions")])
def test_one_version_cannot_be_compared(runs: Runs, asked: Sequence[str], what: str) -> None:
    runs.add("new", 0.5)
    with pytest.raises(HarkError, match=what):
        compare_versions(asked, runs.data, silent_reporter())


def test_without_untrained_recordings_the_error_asks_for_takes(runs: Runs) -> None:
    for run in ("old", "new"):
        runs.add(run, 0.5)
    table = runs.data / "jobs/old/clips.csv"
    table.write_text(table.read_text().replace(",test,", ",train,"))
    with pytest.raises(HarkError, match="cannot be compared on the same audio") as raised:
        compare_versions(["new", "old"], runs.data, silent_reporter())
    assert "Record the phrase" in raised.value.what_to_do
    assert not (runs.data / "models/new" / COMPARISON).exists()
