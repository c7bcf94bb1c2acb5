"""The scores of a detector on a split, and which of the split's segments each figure counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audio_generation.registry import RULE_BASED
from db.records import REAL_ENGINES
from model import metrics
from model.metrics import IntervalDict, ScoredStream

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector


@dataclass(frozen=True)
class ScoredSplit:
    """All segments of a split with their scores. Each row of ``table`` has one stream of ``streams``."""

    table: pd.DataFrame
    streams: list[ScoredStream]

    def pick(self, mask: np.ndarray) -> list[ScoredStream]:
        """Return the streams of the rows that ``mask`` [rows] selects."""
        return [self.streams[i] for i in np.flatnonzero(mask)]

    def utterances(self, mask: np.ndarray) -> int:
        """Return the number of clips in the rows of ``mask`` [rows]. Most clips have a quiet and a noisy rendering."""
        return int(self.table["clip_id"][mask].nunique())

    def distinct_hours(self, mask: np.ndarray) -> float:
        """Return the hours of the rows that ``mask`` [rows] selects, each clip counted once.

        False alarms in its quiet, noisy and distant renderings are not independent of each other.
        """
        hours: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        rows = self.table[mask]
        for engine, condition, stream in zip(rows["engine"], rows["condition"], self.pick(mask)):
            hours[engine][condition] += stream.hours
        return float(sum(max(by_condition.values()) for by_condition in hours.values()))

    def alarm_rate(self, mask: np.ndarray, alarms: int) -> IntervalDict:
        """Return the hourly rate of that many false alarms in the selected rows. Its interval counts distinct hours."""
        hours = sum(stream.hours for stream in self.pick(mask))
        return metrics.alarm_rate(alarms, hours, self.distinct_hours(mask)).as_dict()

    def miss_rate(self, mask: np.ndarray, threshold: float) -> IntervalDict:
        """Return the miss rate in the selected rows, which contain the phrase. Its interval counts utterances."""
        return metrics.miss_rate_at(self.pick(mask), threshold, self.utterances(mask)).as_dict()

    @property
    def positive(self) -> np.ndarray:
        """Mask of the segments that contain the phrase."""
        return self.table["label"].to_numpy() == 1

    @property
    def alone(self) -> np.ndarray:
        """Mask of the segments that contain only the phrase."""
        return self.positive & (self.table["condition"] != "far").to_numpy()

    @property
    def _by_rule_based(self) -> np.ndarray:
        return self.table["engine"].isin(RULE_BASED).to_numpy()

    def _nearest(self, mask: np.ndarray) -> np.ndarray:
        """Return the masked segments with people and similar voices (neural, spliced); all if there are none."""
        near = mask & ~self._by_rule_based
        return near if near.any() else mask

    @property
    def rule_based(self) -> np.ndarray:
        """Mask of the phrase alone, spoken by a voice of rule-based synthesis."""
        return self.alone & self._by_rule_based

    @property
    def headline(self) -> np.ndarray:
        """Mask of the segments that miss rates are measured on: the phrase alone, in the most natural voices."""
        return self._nearest(self.alone)

    @property
    def far(self) -> np.ndarray:
        """Mask of the phrase among other speech, across a room in noise, in the voices most similar to people."""
        return self._nearest(self.positive & ~self.alone)

    @property
    def ordinary(self) -> np.ndarray:
        """Mask of general speech and noise, on which false alarms per hour are counted."""
        return self.table["bucket"].isin(["plain_negative", "noise"]).to_numpy()

    @property
    def people(self) -> np.ndarray:
        """Mask of the segments in which a person speaks the phrase."""
        return self.positive & self.table["engine"].isin(REAL_ENGINES).to_numpy()

    @property
    def confusables(self) -> np.ndarray:
        """Mask of confusables and in-between phrases, each spoken once."""
        return self.table["bucket"].isin(["confusable", "inbetween"]).to_numpy()


def score_split(detector: Detector, store: FeatureStore, split: str) -> ScoredSplit:
    """Run the detector on a split."""
    from model.detector import score_segments

    table = store.where(split=split).reset_index(drop=True)
    return ScoredSplit(table, score_segments(detector, store, table))
