"""Thresholds of a detector, from the validation streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model import metrics
from model.runtime.detector import logit, sigmoid
from pipeline.training.measuring.figures import Threshold
from pipeline.training.measuring.scored_split import ScoredSplit, score_split

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import Detector

FA_PER_DAY = (0.5, 1.0, 2.0, 5.0, 12.0, 24.0, 48.0, 240.0)  # rates for which the manifest has thresholds
DEFAULT_FA_PER_DAY = 12.0  # 0.5 per hour, at which miss rates are usually reported
# To reject confusables, a threshold may be higher than a rate of false alarms requires. If so, it rises by this many
# logits when the wanted rate falls by a factor of e (2.7). To accept e times fewer confusables, it would have to rise
# by two logits, and most utterances of the phrase would be lost.
CONFUSABLE_SCALE = 1.0
MAX_LOST = 0.1  # fraction of the phrase's utterances that may be lost to reject confusables
MAX_LOGIT = 20.0  # maximum logit of a threshold; programs that run a bundle cannot resolve higher ones


@dataclass(frozen=True)
class Calibration:
    """A detector, its thresholds (:func:`thresholds_for`), and the validation split that they come from."""

    detector: Detector
    thresholds: list[Threshold]
    validation: ScoredSplit


def thresholds_for(
    validation: ScoredSplit, rates: Sequence[float] = FA_PER_DAY, min_threshold: float = 0.0
) -> list[Threshold]:
    """Return thresholds for ``rates`` (false alarms per day, ascending), from the validation split's general audio.

    A lower rate never has a lower threshold, even if the fitted tail gives one; below the default rate, it has a higher
    one. A threshold that is higher than its rate requires is marked as ``raised``.

    Args:
        min_threshold: the minimum of the default threshold, to reject confusables. If it applies, each lower rate
            gets a higher threshold: its logit rises by :data:`CONFUSABLE_SCALE` times the logarithm of the ratio of the
            rates.
    """
    streams = validation.pick(validation.ordinary)
    rows: list[Threshold] = []
    for rate in sorted(rates, reverse=True):
        fitted = metrics.threshold_for(streams, rate / 24)
        row: Threshold = {"fa_per_day": rate, "threshold": fitted.threshold, "extrapolated": fitted.extrapolated}
        lowest = max(rows[-1]["threshold"] if rows else 0.0, min_threshold if rate <= DEFAULT_FA_PER_DAY else 0.0)
        if rate < DEFAULT_FA_PER_DAY and row["threshold"] <= lowest:
            height = float(logit(lowest)) + CONFUSABLE_SCALE * math.log(rows[-1]["fa_per_day"] / rate)
            row |= {"threshold": float(sigmoid(min(height, MAX_LOGIT))), "extrapolated": False, "raised": True}
        elif row["threshold"] < min_threshold and rate == DEFAULT_FA_PER_DAY:
            row |= {"threshold": lowest, "extrapolated": False, "raised": True}
        row["threshold"] = max(lowest, row["threshold"])
        rows.append(row)
    return rows[::-1]


def threshold_at(thresholds: Sequence[Threshold], fa_per_day: float) -> float:
    """Return the calibrated threshold of a rate in the table."""
    return float(next(row["threshold"] for row in thresholds if row["fa_per_day"] == fa_per_day))


def calibrate(detector: Detector, store: FeatureStore) -> Calibration:
    """Set the thresholds of a detector from the validation split.

    A keyword HMM maps match scores to logits by a straight line, whose level is set so that the default threshold is
    0.5. The HMM runs over the split only once, because the line does not change match scores. The default threshold is
    at least the match score ``detector.min_score``, however few false alarms there are, unless this minimum would lose
    more than :data:`MAX_LOST` of the close and quiet utterances.
    """
    from model.detector import as_streams, in_batches
    from model.keyword_hmm import HMMDetector

    if not isinstance(detector, HMMDetector):
        validation = score_split(detector, store, "validation")
        return Calibration(detector, thresholds_for(validation), validation)
    table = store.where(split="validation").reset_index(drop=True)
    stored = detector.config.stored
    pieces = [store.features(row) for row in table.itertuples()]
    matches = in_batches(detector.matches, pieces, stored, detector.batch_frames)

    def scored(level: float, min_threshold: float) -> Calibration:
        centred = detector.centred(level)
        scores = (centred.score(match) for match in matches)
        validation = ScoredSplit(table, as_streams(centred, scores, table))
        return Calibration(centred, thresholds_for(validation, min_threshold=min_threshold), validation)

    def match(score: float) -> float:
        return float(detector.level + logit(score) / detector.slope)

    first = scored(detector.level, 0.0)
    level, floor = match(threshold_at(first.thresholds, DEFAULT_FA_PER_DAY)), detector.min_score
    quiet = first.validation.pick(first.validation.headline & (table["condition"] == "clean").to_numpy())
    if quiet:
        floor = min(floor, match(float(np.quantile(metrics.phrase_scores(quiet), MAX_LOST))))
    return scored(floor, 0.5) if level < floor else scored(level, 0.0)
