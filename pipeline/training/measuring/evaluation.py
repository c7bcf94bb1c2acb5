"""Measurement of a detector: thresholds from the validation streams, results from the test streams."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from audio_augmentation.compose import compose_stream
from audio_generation.registry import RULE_BASED
from core.audio_file import read_audio
from db.records import REAL_ENGINES
from model import metrics
from model.metrics import IntervalDict, ScoredStream
from model.runtime.detector import logit, sigmoid
from phrase_augmentation.vocabulary import zipf
from pipeline.training.measuring.figures import (
    AlarmsBy,
    AtThreshold,
    Confusables,
    Misses,
    MissesBy,
    Results,
    Summary,
    Threshold,
)

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.train import TrainResult

FA_PER_DAY = (0.5, 1.0, 2.0, 5.0, 12.0, 24.0, 48.0, 240.0)  # rates for which the manifest has thresholds
DEFAULT_FA_PER_DAY = 12.0  # 0.5 per hour, at which miss rates are usually reported
REPORTED_FA_PER_HOUR = (0.1, 0.5, 2.0)
FOOLED_BY = 5  # confusables that a summary names
# To reject confusables, a threshold may be higher than a rate of false alarms requires. If so, it rises by this many
# logits when the wanted rate falls by a factor of e (2.7). To accept e times fewer confusables, it would have to rise
# by two logits, and most utterances of the phrase would be lost.
CONFUSABLE_SCALE = 1.0
MAX_LOST = 0.1  # fraction of the phrase's utterances that may be lost to reject confusables
MAX_LOGIT = 20.0  # maximum logit of a threshold; programs that run a bundle cannot resolve higher ones


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
        """Mask of confusables and partial-phrase negatives, each spoken once."""
        return self.table["bucket"].isin(["confusable", "inbetween"]).to_numpy()


@dataclass(frozen=True)
class Calibration:
    """A detector, its thresholds (:func:`thresholds_for`), and the validation split that they come from."""

    detector: Detector
    thresholds: list[Threshold]
    validation: ScoredSplit


@dataclass(frozen=True)
class MeasuredDetector:
    """A detector and its figures.

    Attributes:
        thresholds: one row per rate of false alarms (:func:`thresholds_for`).
        results: results of the test (:func:`measure`).
        trained: result of its training, or None.
    """

    detector: Detector
    store: FeatureStore
    thresholds: list[Threshold]
    results: Results
    trained: TrainResult | None

    def summary(self) -> Summary:
        """Return the figures at the shipped threshold, as in a report."""
        results = self.results
        at_default = next(row for row in results["at_rates"] if row["fa_per_hour_wanted"] == DEFAULT_FA_PER_DAY / 24)
        return {
            "miss_rate": at_default["miss_rate"]["all"],
            "miss_rate_clean": at_default["miss_rate"]["clean"],
            "miss_rate_noisy": at_default["miss_rate"]["noisy"],
            "fa_per_hour": at_default["fa_per_hour"],
            "threshold": at_default["threshold"],
            "confusables_accepted": results["confusables"]["rate"],
            "fooled_by": [row["text"] for row in results["confusables"]["worst"][:FOOLED_BY]],
            "test_hours": results["hours"],
            "parameters": self.detector.parameter_count(),
        }


def score_split(detector: Detector, store: FeatureStore, split: str) -> ScoredSplit:
    """Run the detector on a split."""
    from model.detector import score_segments

    table = store.where(split=split).reset_index(drop=True)
    return ScoredSplit(table, score_segments(detector, store, table))


def speech_of_test(clips: pd.DataFrame, pairs: int, seed: int) -> np.ndarray:
    """Return audio [samples] to compare a detector's forms on: clips of the test, every other one with the phrase."""
    test = clips[clips["split"] == "test"]
    phrase, other = (test[test["label"] == label]["path"].head(pairs) for label in (1, 0))
    clips_in_turn = [read_audio(path) for pair in zip(phrase, other) for path in pair]
    return compose_stream(clips_in_turn, np.random.default_rng(seed))


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


def at_threshold(test: ScoredSplit, threshold: float) -> AtThreshold:
    """Return a detector's figures at a threshold: false alarms, misses by condition, confusables accepted."""
    negatives = test.pick(test.ordinary)
    alarms = metrics.count_false_alarms(negatives, threshold)
    return {
        "threshold": threshold,
        "false_alarms": alarms,
        "fa_per_hour": test.alarm_rate(test.ordinary, alarms),
        "miss_rate": {
            name: test.miss_rate(test.headline & mask, threshold)
            for name, mask in _conditions(test.table["condition"].to_numpy())
        },
        "confusables": _accepted(test, threshold)[1],
    }


def measure(
    test: ScoredSplit, thresholds: Sequence[Threshold], validation: ScoredSplit, language: str = "en"
) -> Results:
    """Return the results on the test split, which was not used for training, checkpoints or thresholds."""
    negatives = test.pick(test.ordinary)
    hours = sum(s.hours for s in negatives)
    condition = test.table["condition"].to_numpy()
    # Use the rule of the bundle's thresholds, so that both tables give a rate the same threshold.
    threshold = threshold_at(thresholds, DEFAULT_FA_PER_DAY)
    rates = sorted({*FA_PER_DAY, *(24 * rate for rate in REPORTED_FA_PER_HOUR)})
    rows = thresholds_for(validation, rates, threshold)
    return {
        "people": _misses(test, test.people, threshold),
        "rule_based": _misses(test, test.rule_based, threshold),
        "far": _misses(test, test.far, threshold),
        "hours": hours,
        "distinct_hours": test.distinct_hours(test.ordinary),
        "positives": int(test.headline.sum()),  # number of renderings
        "utterances": test.utterances(test.headline),
        "clips": {name: int((test.headline & mask).sum()) for name, mask in _conditions(condition)},
        "voices": int(test.table["speaker"][test.headline].nunique()),
        "at_rates": [
            {"fa_per_hour_wanted": rate, **at_threshold(test, threshold_at(rows, 24 * rate))}
            for rate in REPORTED_FA_PER_HOUR
        ],
        "at_thresholds": [at_threshold(test, level) for level in sorted({row["threshold"] for row in thresholds})],
        "default_threshold": threshold,
        "by_engine": _misses_by(test, "condition", threshold),
        "by_speaker": _unnamed(_misses_by(test, "speaker", threshold)),
        "false_alarms_by": _alarms_by(test, threshold),
        "confusables": accepted_confusables(test, threshold, language),
        "det": {
            name: metrics.det_curve(test.pick(test.headline & mask), negatives) for name, mask in _conditions(condition)
        },
    }


def _conditions(condition: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("all", np.ones(len(condition), bool)), ("clean", condition == "clean"), ("noisy", condition == "noisy")]


def _misses(split: ScoredSplit, mask: np.ndarray, threshold: float) -> Misses:
    return {"utterances": split.utterances(mask), "miss_rate": split.miss_rate(mask, threshold)}


def _misses_by(split: ScoredSplit, column: Literal["condition", "speaker"], threshold: float) -> list[MissesBy]:
    rows: list[MissesBy] = []
    table = split.table
    for (engine, name), group in table[split.positive].groupby(["engine", column], sort=True):
        mask = np.zeros(len(table), bool)
        mask[group.index.to_numpy()] = True
        row: MissesBy = {
            "engine": str(engine), "clips": len(group), "utterances": split.utterances(mask),
            "miss_rate": split.miss_rate(mask, threshold),
        }  # fmt: skip
        row[column] = str(name)
        rows.append(row)
    return rows


def _unnamed(rows: list[MissesBy]) -> list[MissesBy]:
    """Replace people's names with numbers, because others get the report with the bundle."""
    real = [row for row in rows if row["engine"] in REAL_ENGINES]
    people = list(dict.fromkeys(row["speaker"] for row in real))
    return [{**row, "speaker": f"#{people.index(row['speaker']) + 1}"} if row in real else row for row in rows]


def _alarms_by(split: ScoredSplit, threshold: float) -> list[AlarmsBy]:
    rows: list[AlarmsBy] = []
    table = split.table
    for (engine, condition), group in table[split.ordinary].groupby(["engine", "condition"], sort=True):
        streams = [split.streams[i] for i in group.index]
        hours = sum(s.hours for s in streams)
        alarms = metrics.count_false_alarms(streams, threshold)
        rows.append({
            "engine": str(engine), "condition": str(condition), "hours": hours, "false_alarms": alarms,
            "fa_per_hour": metrics.poisson_interval(alarms, hours).as_dict(),
        })  # fmt: skip
    return rows


def _accepted(split: ScoredSplit, threshold: float) -> tuple[dict[int, bool], IntervalDict]:
    """Return which confusables were accepted, by row, and their fraction. Its interval counts utterances."""
    fired = {int(i): bool((split.streams[i].scores >= threshold).any()) for i in np.flatnonzero(split.confusables)}
    utterances = split.utterances(split.confusables)
    accepted = sum(fired.values()) * utterances / max(1, len(fired))
    return fired, metrics.wilson_interval(accepted, utterances).as_dict()


def accepted_confusables(split: ScoredSplit, threshold: float, language: str = "en") -> Confusables:
    """Return the number of accepted confusables, and their texts, the most likely first.

    A text is likely to trigger the detector if its words are common and it was often accepted.
    """
    fired, rate = _accepted(split, threshold)
    by_text: dict[str, list[bool]] = {}
    for index, accepted in fired.items():
        by_text.setdefault(str(split.table.loc[index, "text"]), []).append(accepted)

    def likelihood(text: str) -> float:
        """Return log10 of a text's frequency, as if its words were independent, times the fraction accepted."""
        return sum(zipf(word, language) - 9.0 for word in text.split()) + math.log10(np.mean(by_text[text]))

    order = sorted((text for text in by_text if any(by_text[text])), key=lambda text: (-likelihood(text), text))
    worst = [(sum(by_text[text]), len(by_text[text]), text) for text in order[:20]]
    return {
        "said": len(fired),
        "accepted": sum(fired.values()),
        "rate": rate,
        "worst": [{"text": text, "accepted": accepted, "said": said} for accepted, said, text in worst],
    }
