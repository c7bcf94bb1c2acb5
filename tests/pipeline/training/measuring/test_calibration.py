"""Calibration: a threshold for each rate of false alarms; the default one is 0.5, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.dataset import FeatureStore, FeatureWriter, open_store
from model.keyword_hmm import HMMDetector, KeywordHMM
from model.large.encoder_detector import EncoderDetector
from model.metrics import count_false_alarms, phrase_scores
from model.runtime.detector import logit
from model.standard.backbone_detector import BackboneDetector, BackboneDetectorConfig
from pipeline.training.measuring.calibration import (
    DEFAULT_FA_PER_DAY,
    FA_PER_DAY,
    calibrate,
    threshold_at,
    thresholds_for,
)
from pipeline.training.measuring.evaluation import REPORTED_FA_PER_HOUR, at_threshold
from pipeline.training.measuring.scored_split import ScoredSplit, score_split
from tests.support.scored_split import split_of
from tests.support.untrained_bundle import line

WAYS = ((5, 12, 30, 8), (5, 12, 31))


def detector_of(kind: str) -> HMMDetector:
    if kind == "encoder":
        return EncoderDetector(replace(EncoderDetector.of_phrase(WAYS, 0.5).config, spellings=((3,),)))
    return BackboneDetector(BackboneDetectorConfig(pronunciations=WAYS, window_frames=24))


def store_of(detector: HMMDetector, folder: Path, minutes: int = 60, said: int = 0, unsaid: int = 0) -> FeatureStore:
    """Make a store of ``minutes`` of random phones, with rescored frames if the detector stores their column.

    It also has ``said`` utterances of the phrase, and ``unsaid`` ones that do not resemble it.
    """
    rng = np.random.default_rng(0)
    writer = FeatureWriter(folder)
    for number in range(minutes):
        frames = np.sqrt(rng.dirichlet(np.full(41, 0.02), 3000))
        column = np.repeat(rng.uniform(0, 1, (300, 1)) * (rng.random((300, 1)) < 0.02), 10, axis=0)
        writer.append(
            np.concatenate([frames, column], axis=1)[:, : detector.config.stored.width], phrase_start=-1,
            phrase_end=-1, label=0, split=("validation", "test")[number % 10 == 0], condition="clean",
            bucket="plain_negative", engine="x", voice="", speaker="", clip_id=-1, text="",
        )  # fmt: skip
    for number in range(said + unsaid):
        phones = np.full((100, detector.config.stored.width), 0.01)
        phones[:, 41:] = 0.0
        if number < said:
            phones[60:90, :41][np.arange(30), np.repeat(WAYS[1], 10)], phones[60:, 41:] = 0.99, 6.0
        writer.append(
            phones, phrase_start=60, phrase_end=90, label=1, split="validation", condition="clean", bucket="positive",
            engine="piper", voice="", speaker="", clip_id=number, text="",
        )  # fmt: skip
    writer.close()
    return open_store(folder, detector.config.stored.width)


@pytest.mark.parametrize("kind", ["backbone", "encoder"])
def test_calibration_sets_the_default_to_half_and_preserves_alarms(kind: str, tmp_path: Path) -> None:
    before = detector_of(kind)
    store = store_of(before, tmp_path)
    after, thresholds, validation = vars(calibrate(before, store)).values()
    assert threshold_at(thresholds, 12.0) == pytest.approx(0.5, abs=0.03)  # smoothing is not linear
    again = score_split(after, store, "validation")
    for one, other in zip(validation.streams, again.streams, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert thresholds_for(again) == thresholds

    # The thresholds stand for the same match scores as before.
    first = score_split(before, store, "validation")
    for old, new in zip(thresholds_for(first), thresholds, strict=True):
        matches = [
            (float(logit(row["threshold"])) - model.match.bias.item()) / model.match.weight.item()
            for row, model in ((old, before), (new, after))
        ]
        assert matches[0] == pytest.approx(matches[1], abs=0.1) and old["extrapolated"] == new["extrapolated"]
        if not new["extrapolated"]:
            assert count_false_alarms(first.streams, old["threshold"]) == count_false_alarms(
                validation.streams, new["threshold"]
            )
    assert before.match.bias.item() == pytest.approx(-before.slope * before.level), "the given one is unchanged"


def test_the_default_threshold_is_not_below_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = detector_of("encoder")
    store = store_of(detector, tmp_path, 12)
    free, thresholds, _ = vars(calibrate(detector, store)).values()
    level = -free.match.bias.item() / free.match.weight.item()
    monkeypatch.setattr(EncoderDetector, "min_score", level + 0.5)
    raised, higher, validation = vars(calibrate(detector, store)).values()
    assert -raised.match.bias.item() / raised.match.weight.item() == pytest.approx(level + 0.5)
    assert threshold_at(higher, 12.0) == 0.5 and [row["fa_per_day"] for row in higher if row.get("raised")][-1] == 12.0
    assert not any(row.get("raised") for row in thresholds)
    assert threshold_at(higher, 240.0) < 0.5, "the floor must not limit users who accept more false alarms"
    assert count_false_alarms(validation.streams, 0.5) <= 0.5 * sum(stream.hours for stream in validation.streams)
    monkeypatch.setattr(EncoderDetector, "min_score", level - 0.5)
    assert calibrate(detector, store).thresholds == thresholds


def test_allowing_confusables_removes_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = detector_of("encoder")
    store = store_of(detector, tmp_path, 12)
    free, thresholds, _ = vars(calibrate(detector, store)).values()
    level = -free.match.bias.item() / free.match.weight.item()
    monkeypatch.setattr("model.large.encoder_detector.MIN_VERIFIED_MATCH", level + 0.5)
    for allowed in (False, True):
        each = EncoderDetector(replace(detector.config, verifier="v", allow_confusables=allowed))
        assert (calibrate(each, store).thresholds == thresholds) is allowed


@pytest.mark.parametrize(("unsaid", "raised"), [(1, True), (4, False)])
def test_a_floor_misses_at_most_a_tenth_of_the_phrases(
    unsaid: int, raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = detector_of("encoder")
    store = store_of(detector, tmp_path, 12, said=16, unsaid=unsaid)
    free, _, validation = vars(calibrate(detector, store)).values()
    level = -free.match.bias.item() / free.match.weight.item()
    heard = phrase_scores(validation.pick(validation.positive))
    assert (heard < 0.5).sum() == unsaid
    monkeypatch.setattr(EncoderDetector, "min_score", level + 0.5)
    _, thresholds, _ = vars(calibrate(detector, store)).values()
    assert [row["fa_per_day"] for row in thresholds if row.get("raised")][-1:] == ([12.0] if raised else [])


def test_recalibration_replaces_the_earlier_calibration(tmp_path: Path) -> None:
    detector = detector_of("backbone")
    store = store_of(detector, tmp_path, 12)
    lines = []
    for slope, bias in ((5.0, 6.0), (4.2, 5.1), (2.0, 0.0)):
        after, thresholds, _ = vars(calibrate(line(detector.centred(0.0), slope, bias), store)).values()
        lines.append((after.match.weight.item(), after.match.bias.item(), threshold_at(thresholds, 12.0)))
    assert lines[0] == lines[1] == lines[2] and lines[0][0] == 5.0


def test_the_split_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = detector_of("backbone")
    store = store_of(detector, tmp_path, 12)
    followed = 0
    forward = KeywordHMM.forward

    def counted(self, heard, value=None):  # type: ignore[no-untyped-def]
        nonlocal followed
        followed += heard.shape[0] * heard.shape[1]
        return forward(self, heard, value)

    monkeypatch.setattr(KeywordHMM, "forward", counted)
    calibrate(detector, store)
    assert followed == pytest.approx(store.where(split="validation")["frames"].sum(), rel=0.01)


@pytest.fixture(scope="module")
def validation() -> ScoredSplit:
    return split_of(0)


def test_a_lower_rate_never_has_a_lower_threshold(validation: ScoredSplit) -> None:
    thresholds = thresholds_for(validation)
    assert [row["fa_per_day"] for row in thresholds] == list(FA_PER_DAY)
    levels = [row["threshold"] for row in thresholds]
    assert levels == sorted(levels, reverse=True) and min(levels) > 0 and max(levels) < 1
    hours = sum(s.hours for s in validation.pick(validation.ordinary))
    for row in thresholds:
        assert row["extrapolated"] == (row["fa_per_day"] / 24 * hours < 3)
        if not row["extrapolated"]:
            alarms = count_false_alarms(validation.pick(validation.ordinary), row["threshold"])
            assert alarms <= row["fa_per_day"] / 24 * hours + 1e-9
    assert threshold_at(thresholds, 12.0) == levels[FA_PER_DAY.index(12.0)]


@pytest.mark.parametrize("least", [0.0, 0.5, 0.9, 0.999])
def test_a_lower_rate_raises_the_threshold_and_accepts_no_more_confusables(
    validation: ScoredSplit, least: float
) -> None:
    """The floor against confusables may exceed every threshold that ordinary speech requires."""
    rates = sorted({*FA_PER_DAY, *(24 * rate for rate in REPORTED_FA_PER_HOUR)})
    rows = {row["fa_per_day"]: row for row in thresholds_for(validation, rates, least)}
    levels = [row["threshold"] for rate, row in rows.items() if rate <= DEFAULT_FA_PER_DAY]
    assert levels == sorted(set(levels), reverse=True) and levels[-1] >= least and levels[0] < 1.0
    accepted = [at_threshold(validation, level)["confusables"]["value"] for level in levels]
    assert accepted == sorted(accepted)
    # The floor holds at the default rate and below it; users who accept more false alarms get them.
    assert rows[240.0] == thresholds_for(validation)[FA_PER_DAY.index(240.0)]
    for row in thresholds_for(
        validation, min_threshold=least
    ):  # a rate has one threshold, whatever other rates are asked for
        assert row["threshold"] == pytest.approx(rows[row["fa_per_day"]]["threshold"], abs=1e-12)
