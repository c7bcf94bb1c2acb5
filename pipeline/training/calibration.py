"""Calibration of a keyphrase HMM: which match score is the phrase, read off the speech of the validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from model.runtime.detector import logit
from pipeline.training.evaluation import DEFAULT_FA_PER_DAY, ScoredSplit, calibrate, threshold_at

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.keyword_hmm import HMMDetector

    AnyHMM = TypeVar("AnyHMM", bound=HMMDetector)


def calibrated(detector: AnyHMM, store: FeatureStore) -> tuple[AnyHMM, list[dict[str, Any]], ScoredSplit]:
    """The detector whose default threshold is 0.5, its thresholds, and the validation split that they come from.

    The phrase is followed through the split once: the line from match score to logit is set afterwards. No default
    threshold lies below the match score ``detector.least``, however rare false alarms are there.
    """
    from model.detector import as_streams, in_batches

    table = store.where(split="validation").reset_index(drop=True)
    stored = detector.config.stored
    pieces = [store.features(row) for row in table.itertuples()]
    matches = in_batches(detector.matches, pieces, stored, detector.batch_frames)

    def scored(level: float, least: float) -> tuple[AnyHMM, list[dict[str, Any]], ScoredSplit]:
        centred = detector.centred(level)
        scores = (centred.score(match) for match in matches)
        validation = ScoredSplit(table, as_streams(centred, scores, table))
        return centred, calibrate(validation, least=least), validation

    _, thresholds, _ = scored(detector.level, 0.0)
    level = detector.level + float(logit(threshold_at(thresholds, DEFAULT_FA_PER_DAY))) / detector.slope
    return scored(detector.least, 0.5) if level < detector.least else scored(level, 0.0)
