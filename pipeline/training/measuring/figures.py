"""The figures of a detector, as JSON values: in its report, in the summary of a run, and on pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from model.metrics import IntervalDict

DetCurve = Mapping[str, list[float | None]]  # of :func:`model.metrics.det_curve`


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
    det: dict[str, DetCurve]  # by condition


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


class VersionFigures(AtThreshold):
    """A version's figures on a test that others have scored too, and on the marked errors."""

    utterances: int
    renderings: int  # of these utterances: quiet, in noise
    missed: int  # renderings
    hours: float
    marked_fired: int
    marked_missed: int


class ComparedVersion(VersionFigures):
    """A version in a :class:`Comparison`."""

    run: str
    people: IntervalDict  # miss rate
    det: DetCurve


class StreamContents(TypedDict):
    """The contents of the stream of a comparison, which are the same for all versions."""

    utterances: int
    renderings: int
    people: int
    voices: int
    confusables: int
    hours: float
    negative_hours: float  # of the negative set
    marked: int  # false alarms
    marked_misses: int


class Comparison(TypedDict):
    """The figures of a detector's versions on one stream."""

    asked: list[str]  # runs
    stream: StreamContents
    versions: list[ComparedVersion]  # in the order of ``asked``
    left_out: dict[str, str]  # reasons, by run
    created: str


class AntiKeywordFigures(TypedDict):
    """The anti-keywords of a version (:class:`pipeline.training.detectors.retraining.AntiKeywords`)."""

    phones: Sequence[Sequence[int]]
    margin: float
    marked: int
    alike: int


class AgainstPrevious(TypedDict):
    """A version that a run retrained, compared with the previous one (the run ``run``)."""

    run: str
    before: VersionFigures
    after: VersionFigures
    marked: int  # false alarms
    marked_misses: int
    better: bool
    anti_keywords: AntiKeywordFigures


def is_better(new: VersionFigures, old: VersionFigures) -> bool:
    """Return whether a version is better than another, by their figures on the same streams.

    A better one may miss one test recording more and give one false alarm more, but no marked error more, and at least
    one of these figures falls.
    """
    allowed: dict[Literal["missed", "false_alarms", "marked_fired", "marked_missed"], int]
    allowed = {"missed": 1, "false_alarms": 1, "marked_fired": 0, "marked_missed": 0}
    worse = any(new[name] > old[name] + more for name, more in allowed.items())
    return not worse and any(new[name] < old[name] for name in allowed)
