"""Retraining on marked errors: anti-keywords of false alarms, and a comparison on the same streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import HarkError
from core.events import silent_reporter
from core.worded import Worded
from db.db_api import Library, source_id
from model.dataset import FeatureStore, FeatureWriter, open_store
from model.export import check_parity, quantize_weights
from model.features import CHUNK_SAMPLES
from model.keyword_hmm import CHUNK_STEPS
from model.phones import outputs_of
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors import retraining
from pipeline.training.detectors.retraining import AntiKeywords, Retraining, find_anti_keywords, retraining_of
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, Calibration
from pipeline.training.measuring.comparison import counted
from pipeline.training.measuring.evaluation import MeasuredDetector
from pipeline.training.measuring.marked_errors import Marked, marked_audio
from pipeline.training.measuring.scored_split import score_split
from pipeline.training.planning.clip_choice import real_negatives
from pipeline.training.planning.marked import CORPUS, FALSE_ALARM_OF, marked_false_alarms
from pipeline.training.planning.plan import Plan, save_plan
from pipeline.training.reporting.report_words import compared_in_words
from tests.support.choir import new_clip
from tests.support.constants import replace_in
from tests.support.untrained_bundle import keyword_hmm_model, lenient, spoken

THRESHOLD = 0.5


@pytest.fixture(scope="module")
def model() -> BackboneDetector:
    """A detector of "hey compass" that knows only its phones, and mistakes "hey campus" for it."""
    made = lenient(keyword_hmm_model("hey compass", "standard"), "hey compass", "hey campus")
    assert isinstance(made, BackboneDetector)
    return made


@pytest.fixture(scope="module")
def store(model: BackboneDetector, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(model, spoken("hey compass"), tmp_path_factory.mktemp("store"))


def store_of(model: BackboneDetector, audio: np.ndarray, folder: Path) -> FeatureStore:
    """Make six utterances of the phrase in the validation split, each with a little more noise."""
    writer = FeatureWriter(folder / "features")
    rng = np.random.default_rng(0)
    for number in range(6):
        noisy = audio + 1e-3 * number * rng.standard_normal(len(audio)).astype(np.float32)
        heard = model.encode(noisy)
        end = len(heard) - 50
        writer.append(
            heard, phrase_start=end - 40, phrase_end=end, label=1, split="validation", condition="clean",
            bucket="positive", engine="espeak", voice="v", speaker="s", clip_id=number, text="hey compass",
        )  # fmt: skip
    writer.close()
    return open_store(writer.folder, model.config.stored.width)


class Scripted(BackboneDetector):
    """Recognizes the phones that :func:`written` encodes, without weights; 30 might also be 22."""

    def encode(self, audio: np.ndarray) -> np.ndarray:
        frames = len(audio) // CHUNK_SAMPLES * CHUNK_STEPS
        outputs = np.rint(100 * np.median(audio[: 320 * frames].reshape(frames, 320), axis=1)).astype(int)
        p = np.full((frames + self.config.window_frames - CHUNK_STEPS, self.config.stored.width), 1e-3, np.float32)
        p[np.arange(len(p)), np.pad(outputs, (len(p) - frames, 0))] = 0.7
        p[p[:, 30] == np.float32(0.7), 22] = 0.25
        return np.sqrt(p)


def written(*parts: Sequence[int]) -> np.ndarray:
    """Return audio [samples] for :class:`Scripted`: phones of 60 ms with 20 ms of output 0 between, in silence."""
    outputs = [0] * 50 + [output for part in parts for phone in part for output in (phone, phone, phone, 0)] + [0] * 50
    return np.repeat(np.array(outputs, np.float32) / 100, 320)


WRITTEN, WRITTEN_NEAR, WRITTEN_OTHER = (20, 21, 22, 23, 24, 25), (20, 21, 30, 23, 24, 25), (35, 36, 37, 38)


@pytest.fixture
def scripted() -> Scripted:
    return Scripted.of_phrase(shipped_backbone()[0], (WRITTEN,), 1.2)


def test_a_marked_false_alarm_no_longer_fires_but_the_phrase_does(scripted: Scripted, tmp_path: Path) -> None:
    model, phrase, near, other = scripted, WRITTEN, WRITTEN_NEAR, WRITTEN_OTHER

    def highest(model: BackboneDetector, *parts: Sequence[int]) -> float:
        return float(model.stream_scores(written(*parts)).max())

    assert highest(model, near) > THRESHOLD > highest(model, other)  # it takes the similar phrase for its own
    anti_keywords = find_anti_keywords(model, THRESHOLD, [written(near)], store_of(model, written(phrase), tmp_path))
    assert anti_keywords.phones == (near,) and (anti_keywords.marked, anti_keywords.alike) == (1, 0)
    better = model.with_anti_keywords(anti_keywords.phones, anti_keywords.margin)
    assert highest(better, near) < 0.1
    assert highest(better, other, near, other) < 0.1  # in other recordings, too
    assert abs(highest(better, phrase) - highest(model, phrase)) < 0.01
    assert highest(better, other, phrase, other) > THRESHOLD


def test_anti_keywords_silence_some_confusables_but_never_the_phrase(tmp_path: Path) -> None:
    # Which ones are silenced depends on the weights: an anti-keyword that ends before the phrase matches too early.
    nears = ("hey campus", "hey compost", "he compasses", "hey rumpus", "hey come past")
    model = lenient(keyword_hmm_model("hey compass"), "hey compass")

    def fires(model: BackboneDetector, text: str) -> bool:
        return float(model.stream_scores(spoken(text)).max()) > THRESHOLD

    taken = [text for text in nears if fires(model, text)]
    assert len(taken) >= 3, "too few confusables fire for a meaningful test"
    store = store_of(model, spoken("hey compass"), tmp_path)
    silent = 0
    for text in taken:
        found = find_anti_keywords(model, THRESHOLD, [spoken(text)], store)
        better = model.with_anti_keywords(found.phones, found.margin)
        assert fires(better, "hey compass"), text
        silent += not fires(better, text)
    assert silent


def test_a_detector_with_anti_keywords_agrees_in_all_forms(model: BackboneDetector, tmp_path: Path) -> None:
    changed = model.with_anti_keywords(outputs_of(Keyphrase("hey campus")), 0.1)
    changed.export(tmp_path / "a.onnx")
    quantize_weights(tmp_path / "a.onnx", tmp_path / "b.onnx")
    audio = np.concatenate([spoken("hey compass"), spoken("hey campus")])
    parity = check_parity(changed, tmp_path / "a.onnx", tmp_path / "b.onnx", audio)
    assert max(parity.onnx, parity.streaming) < 1e-4 and parity.int8_agrees


def test_a_homophone_of_the_phrase_is_not_an_anti_keyword(
    model: BackboneDetector, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "_decode", lambda model, audio: model.config.pronunciations[0])
    anti_keywords = find_anti_keywords(model, THRESHOLD, [spoken("hey compass")], store)
    assert (anti_keywords.phones, anti_keywords.alike, anti_keywords.marked) == ((), 1, 1)


def test_an_anti_keyword_that_suppresses_the_phrase_is_not_used(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the phrase without its first sounds is in every utterance of it
    replace_in(retraining, monkeypatch, _decode=lambda model, audio: WRITTEN[2:], MARGINS=(-0.5,))
    store = store_of(scripted, written(WRITTEN), tmp_path)
    assert find_anti_keywords(scripted, THRESHOLD, [written(WRITTEN)], store).phones == ()


def test_the_cost_of_anti_keywords_is_reported_by_a_calibrated_detector(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before calibration, the threshold does not apply to the scores of a retrained detector."""
    store = store_of(scripted, written(WRITTEN), tmp_path)
    calibrated = scripted.centred(0.25)
    asked: list[tuple[Any, float]] = []

    def find(detector: Any, threshold: float, marked: Any, store: Any) -> AntiKeywords:
        asked.append((detector, threshold))
        return AntiKeywords((WRITTEN_NEAR,), 0.1)

    thresholds = [{"fa_per_day": DEFAULT_FA_PER_DAY, "threshold": 0.625}]
    nothing: Any = None
    found = Calibration(calibrated, thresholds, nothing)
    replace_in(retraining, monkeypatch, calibrate=lambda *given: found, find_anti_keywords=find)
    this = Retraining("run-1", scripted, thresholds, Marked(), silent_reporter())
    made, anti_keywords = this.with_anti_keywords(scripted, store)
    assert asked == [(calibrated, 0.625)]
    assert anti_keywords.phones == made.config.anti_keywords == (WRITTEN_NEAR,)


@pytest.mark.parametrize(
    ("after", "better"),
    [
        ({"marked_fired": 0}, True),
        ({"missed": 8}, True),
        ({}, False),
        ({"missed": 11, "marked_fired": 0}, True),
        ({"missed": 12, "marked_fired": 0}, False),
        ({"false_alarms": 5, "missed": 2}, False),
        ({"marked_fired": 3, "missed": 2}, False),
        ({"marked_missed": 0}, True),
        ({"marked_missed": 0, "false_alarms": 4}, True),
        ({"marked_missed": 0, "missed": 12}, False),
        ({"marked_missed": 2, "marked_fired": 0}, False),
    ],
)
def test_a_version_is_better_if_something_improves_at_little_cost(
    monkeypatch: pytest.MonkeyPatch, after: dict[str, int], better: bool
) -> None:
    old = {"utterances": 50, "renderings": 100, "missed": 10, "hours": 1.0, "false_alarms": 3, "threshold": 0.5}
    old |= {"marked_fired": 2, "marked_missed": 1}
    counted = iter([old, {**old, **after}])
    replace_in(retraining, monkeypatch, score_split=lambda *given: None, counted=lambda *given: next(counted))
    thresholds = [{"fa_per_day": 12.0, "threshold": 0.5}]
    nothing: Any = None
    marked = Marked([np.zeros(1)] * 2, [np.zeros(1)] * 3)
    found = AntiKeywords(((1, 2, 3),), marked=2)
    this = Retraining("run-1", nothing, thresholds, marked, silent_reporter())
    compared = this.compared(MeasuredDetector(nothing, nothing, thresholds, {}, None), found)
    assert compared["better"] is better
    words = compared_in_words(compared)
    assert all(isinstance(sentence, Worded) for sentence in words)
    assert words[-1].startswith("It is better" if better else "It is not better")
    assert f"missed {compared['after']['missed']} of 100 test recordings of 50 utterances (previously: 10)" in words[0]
    assert f"Of 3 marked misses it misses {compared['after']['marked_missed']} (previously: 1)" in words[2]


def test_marks_are_counted_for_each_version(model: BackboneDetector, store: FeatureStore, tmp_path: Path) -> None:
    taken = {"source": source_id(CORPUS, "a.flac"), "engine": "corpus", "speaker": "user-1"}
    with Library(tmp_path) as library:
        said = replace(new_clip("hey compass", settings={"role": "train"}, **taken), audio=spoken("hey compass"))
        unheard = new_clip(
            "hey compass", settings={"role": "train"}, **{**taken, "source": source_id(CORPUS, "b.flac")}
        )
        other = new_clip("computer", settings={"role": "train"}, **{**taken, "source": source_id(CORPUS, "c.flac")})
        alarm = new_clip(
            "", settings={FALSE_ALARM_OF: "hey compass"}, **{**taken, "source": source_id(CORPUS, "d.flac")}
        )
        library.add_clips([said, unheard, other, replace(alarm, audio=spoken("hey campus"), text_known=False)])
        marked = marked_audio(library, "hey compass", "en")
        assert (len(marked.misses), len(marked.false_alarms)) == (2, 1)
    found = counted(model, score_split(model, store, "validation"), THRESHOLD, marked)
    assert (found["marked_missed"], found["marked_fired"]) == (1, 1), "one marked miss is only a tone"
    assert (found["utterances"], found["renderings"], found["missed"]) == (6, 6, 0)
    deaf = counted(model, score_split(model, store, "validation"), 1.1, marked)
    assert (deaf["marked_missed"], deaf["marked_fired"], deaf["missed"]) == (2, 0, 6)


def test_marked_clips_are_anti_keywords_only_for_their_phrase_and_language(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        marked = new_clip("", "user-1", "corpus", 2.0, source=source_id(CORPUS, "a.flac"))
        marked = replace(
            marked, text="", text_normalized="", text_known=False, settings={FALSE_ALARM_OF: "hey compass"}
        )
        library.add_clips([marked])
        assert [clip.source for clip in marked_false_alarms(library, "hey compass", "en")] == ["inbox:a.flac"]
        assert marked_false_alarms(library, "computer", "en") == marked_false_alarms(library, "hey compass", "de") == []
        assert real_negatives(library, RunConfig("computer"))[0] == []


def test_a_detector_from_elsewhere_cannot_be_retrained(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="cannot be retrained here"):
        retraining_of(tmp_path, "some-run")


def test_a_bundle_whose_run_name_is_a_path_is_not_retrained(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "models" / "x", elsewhere):
        folder.mkdir(parents=True)
        (folder / "model.pt").touch()
    (data / "jobs" / "x").mkdir(parents=True)
    plan = Plan("x", RunConfig("hey compass"), (), (), (), 0.0, {}, {}, "", 0.0)
    save_plan(plan, elsewhere / "plan.json")
    save_plan(plan, data / "jobs" / "x" / "plan.json")
    assert retraining_of(data, "x").start_from == "x"
    for run in (str(elsewhere), "../../elsewhere", "..", "", "x/../../../elsewhere"):
        with pytest.raises(HarkError, match="cannot be retrained here"):
            retraining_of(data, run)
