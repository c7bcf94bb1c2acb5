"""The figures of a detector, as JSON values: in its report, in the summary of a run, and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from model.metrics import IntervalDict


class Threshold(TypedDict):
    """A calibrated threshold; ``raised`` if it is higher than its rate of false alarms requires."""

    fa_per_day: float
    threshold: float
    extrapolated: bool
    raised: NotRequired[bool]


class AtThreshold(TypedDict):
    """Figures at a threshold; miss rates by condition: "all", "clean", "noisy"."""

    threshold: float
    false_alarms: int
    fa_per_hour: IntervalDict
    miss_rate: dict[str, IntervalDict]
    confusables: IntervalDict
    fa_per_hour_wanted: NotRequired[float]


class Misses(TypedDict):
    """Misses in some of the test's utterances."""

    utterances: int
    miss_rate: IntervalDict


class MissesBy(Misses):
    """Misses by engine and condition, or by engine and speaker."""

    engine: str
    clips: int
    condition: NotRequired[str]
    speaker: NotRequired[str]


class AlarmsBy(TypedDict):
    """False alarms by engine and condition."""

    engine: str
    condition: str
    hours: float
    false_alarms: int
    fa_per_hour: IntervalDict


class WorstConfusable(TypedDict):
    """A confusable that triggers the detector, in ``accepted`` of ``said`` clips."""

    text: str
    accepted: int
    said: int


class Confusables(TypedDict):
    """Confusables of the test; ``worst`` lists those that trigger the detector, the most likely first."""

    said: int
    accepted: int
    rate: IntervalDict
    worst: list[WorstConfusable]


class Results(TypedDict):
    """Results of the test (:func:`pipeline.training.measuring.evaluation.measure`)."""

    people: Misses
    rule_based: Misses
    far: Misses
    hours: float
    distinct_hours: float
    positives: int  # number of renderings
    utterances: int
    clips: dict[str, int]  # by condition
    voices: int
    at_rates: list[AtThreshold]
    at_thresholds: list[AtThreshold]
    default_threshold: float
    by_engine: list[MissesBy]
    by_speaker: list[MissesBy]
    false_alarms_by: list[AlarmsBy]
    confusables: Confusables
    det: dict[str, Mapping[str, list[float | None]]]  # by condition (:func:`model.metrics.det_curve`)


class Summary(TypedDict):
    """The figures at the shipped threshold."""

    miss_rate: IntervalDict
    miss_rate_clean: IntervalDict
    miss_rate_noisy: IntervalDict
    fa_per_hour: IntervalDict
    threshold: float
    confusables_accepted: IntervalDict
    fooled_by: list[str]
    test_hours: float
    parameters: int
    effort: NotRequired[str]
