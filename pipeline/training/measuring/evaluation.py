"""Measurement of a detector on the test streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from audio_augmentation.compose import compose_stream
from core.audio_file import read_audio
from db.records import REAL_ENGINES
from model import metrics
from model.metrics import IntervalDict
from phrase_augmentation.vocabulary import zipf
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, FA_PER_DAY, threshold_at, thresholds_for
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
from pipeline.training.measuring.scored_split import ScoredSplit

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.train import TrainResult

REPORTED_FA_PER_HOUR = (0.1, 0.5, 2.0)
FOOLED_BY = 5  # confusables that a summary names


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


def speech_of_test(clips: pd.DataFrame, pairs: int, seed: int) -> np.ndarray:
    """Return audio [samples] to compare a detector's forms on: clips of the test, every other one with the phrase."""
    test = clips[clips["split"] == "test"]
    phrase, other = (test[test["label"] == label]["path"].head(pairs) for label in (1, 0))
    clips_in_turn = [read_audio(path) for pair in zip(phrase, other) for path in pair]
    return compose_stream(clips_in_turn, np.random.default_rng(seed))


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
