"""Metrics of a detector: debounced detections, miss rate, false alarms per hour, DET curve, intervals.

A *score* is the sigmoid of the window's logit, one per 80 ms. Measurement and deployment use the same smoothing and the
same refractory time.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypedDict

import numpy as np

from model.runtime.detector import Trigger, logit, sigmoid

SCORE_PERIOD_S = 0.08  # seconds per score
# Seconds after the highest score of a detection in which no other is reported. A large detector scores an utterance
# again while it is in its window, for 2.88 s minus the length of the phrase.
REFRACTORY_S = 2.5
HIT_BEFORE_S = 0.1  # seconds that a detection may precede the end of the phrase
HIT_AFTER_S = 1.0  # seconds that a detection may follow the end of the phrase
CONFIDENCE = 0.95
# Quantile of the normal distribution, for the half-width of an interval.
QUANTILE = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
DET_POINTS = 120
TAIL_PEAKS = 50  # number of the highest false-alarm peaks to which the tail is fitted
TAIL_PRIOR = 0.1  # added to the shape of a tail: half of its standard error (lab/experiments.md)


class IntervalDict(TypedDict):
    """An :class:`Interval` as JSON; None stands for what was not measured."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> IntervalDict:
        """Return JSON-safe values: None stands for NaN (not measured) and infinity."""
        value, low, high = (each if np.isfinite(each) else None for each in (self.value, self.low, self.high))
        return {"value": value, "low": low, "high": high}


@dataclass(frozen=True)
class ScoredStream:
    """Scores of a stream, and the times of the phrase in it.

    Attributes:
        scores: smoothed scores [n], one every 80 ms.
        phrase_end_s: ends of the phrase's occurrences, seconds [k]; empty for a negative stream.
    """

    scores: np.ndarray
    phrase_end_s: np.ndarray

    @property
    def hours(self) -> float:
        return len(self.scores) * SCORE_PERIOD_S / 3600.0


def wilson_interval(successes: float, trials: int) -> Interval:
    """Return a proportion with its Wilson score interval (Wilson 1927); NaN with no trials.

    ``successes`` may be fractional: one of two renderings of a trial may have succeeded.
    """
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = QUANTILE
    p = successes / trials
    denominator = 1 + z * z / trials
    centre = (p + z * z / (2 * trials)) / denominator
    half = z * np.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / denominator
    return Interval(p, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def poisson_interval(events: float, exposure: float) -> Interval:
    """Return a rate (events per exposure) with its exact interval from the gamma distribution (Garwood 1936)."""
    from scipy import special

    if exposure <= 0:
        return Interval(float("nan"), 0.0, float("inf"))
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if events == 0 else float(special.gammaincinv(events, tail))
    high = float(special.gammaincinv(events + 1, 1 - tail))
    return Interval(events / exposure, low / exposure, high / exposure)


def alarm_rate(alarms: int, hours: float, distinct_hours: float) -> Interval:
    """Return false alarms per hour; the interval counts ``distinct_hours``, because repetitions are not independent."""
    return poisson_interval(alarms * distinct_hours / hours if hours else 0.0, distinct_hours)


def detections(scores: np.ndarray, threshold: float, refractory_s: float = REFRACTORY_S) -> np.ndarray:
    """Return the indices [k] at which a detector with that threshold triggers (``model.runtime.detector.Trigger``)."""
    return np.asarray(Trigger(threshold, round(refractory_s / SCORE_PERIOD_S)).fired(scores), dtype=np.int64)


def count_false_alarms(streams: list[ScoredStream], threshold: float) -> int:
    return sum(len(detections(s.scores, threshold)) for s in streams)


def phrase_scores(streams: list[ScoredStream]) -> np.ndarray:
    """Return the highest score [k] of each occurrence within the time in which a detection counts as a hit."""
    best: list[float] = []
    for stream in streams:
        for end_s in stream.phrase_end_s:
            # Score i belongs to the window that ends at (i + 1) * 80 ms.
            first = max(0, int(np.floor((end_s - HIT_BEFORE_S) / SCORE_PERIOD_S)) - 1)
            last = int(np.ceil((end_s + HIT_AFTER_S) / SCORE_PERIOD_S))
            window = stream.scores[first:last]
            best.append(float(window.max()) if len(window) else 0.0)
    return np.asarray(best, dtype=np.float64)


def false_alarm_peaks(streams: list[ScoredStream]) -> np.ndarray:
    """Return the highest score of each event (a detection at a low threshold) in negative streams, highest first."""
    gap = round(REFRACTORY_S / SCORE_PERIOD_S)
    peaks = [
        np.maximum.reduceat(stream.scores, Trigger(0.0, gap).fired(stream.scores))
        for stream in streams
        if len(stream.scores)
    ]
    return np.sort(np.concatenate([np.zeros(0), *peaks]))[::-1]


@dataclass(frozen=True)
class Operating:
    """A threshold for a false-alarm rate; ``extrapolated`` means from the tail of the peaks, not observed."""

    threshold: float
    extrapolated: bool


def threshold_for(streams: list[ScoredStream], fa_per_hour: float) -> Operating:
    """Return the lowest threshold whose false-alarm rate on the negative ``streams`` is at most ``fa_per_hour``.

    If the streams are too short to observe the rate (fewer than three expected events), it is extrapolated from the
    highest peaks (:func:`_tail_height`).
    """
    hours = sum(s.hours for s in streams)
    peaks = false_alarm_peaks(streams)
    allowed = fa_per_hour * hours
    if allowed >= 3:
        # Just above each peak, ascending, in the precision of the scores, so that it is not rounded back to the peak.
        candidates = np.nextafter(np.unique(peaks).astype(np.float32), np.float32(2.0))
        low = bisect_left(candidates[:-1], True, key=lambda level: count_false_alarms(streams, float(level)) <= allowed)
        return Operating(min(1.0, float(candidates[low])), False)
    top = logit(peaks[: max(10, min(TAIL_PEAKS, len(peaks) // 10))])
    if len(top) < 2 or hours == 0:
        return Operating(0.5, True)
    height = _tail_height(top, len(top) / hours / fa_per_hour)
    return Operating(float(sigmoid(min(height, 18.0))), True)


def _tail_height(peaks: np.ndarray, rarer: float) -> float:
    """Return the height exceeded ``rarer`` times less often than the lowest of the ``peaks`` (logits, highest first).

    The excess over the lowest is generalized Pareto (peaks over threshold, Coles 2001, ch. 4), fitted by
    probability-weighted moments (Hosking and Wallis 1987). A shape below 0 means a bounded tail, which occurs because
    the second pass bounds the scores of words that resemble many others. The shape is shrunk towards 0 (an exponential
    tail) by :data:`TAIL_PRIOR` and never exceeds 0, because so few peaks are not evidence of a heavier tail.
    """
    base = float(peaks[-1])
    excess = np.sort(peaks[:-1] - base)
    count = len(excess)
    mean = max(float(excess.mean()), 1e-3)
    weighted = float(excess @ np.arange(count - 1, -1, -1)) / (count * max(count - 1, 1))  # E[x (1 - F(x))]
    shape = float(np.clip(2.0 - mean / max(mean - 2.0 * weighted, 1e-9) + TAIL_PRIOR, -1.0, 0.0))
    scale = mean * (1.0 - shape)
    if shape > -1e-6:
        return base + scale * float(np.log(rarer))
    return base + scale / shape * float(rarer**shape - 1.0)


def miss_rate_at(positives: list[ScoredStream], threshold: float, utterances: int | None = None) -> Interval:
    """Return the fraction of missed occurrences at a threshold, with Wilson's interval.

    Args:
        utterances: number of different ones, if the streams hold several renderings of each. It is the number of
            trials for the interval, because renderings of an utterance are correlated.
    """
    best = phrase_scores(positives)
    if utterances is None or not len(best):
        utterances = len(best)
    return wilson_interval(int((best < threshold).sum()) * utterances / max(1, len(best)), utterances)


def det_curve(positives: list[ScoredStream], negatives: list[ScoredStream]) -> dict[str, list[float | None]]:
    """Return miss rate against false alarms per hour over thresholds evenly spaced in logits; None: not measured."""
    best = phrase_scores(positives)
    hours = sum(s.hours for s in negatives)
    peaks = false_alarm_peaks(negatives)
    levels = logit(np.concatenate([best, peaks[:2000]])) if len(best) + len(peaks) else np.zeros(1)
    thresholds = sigmoid(np.linspace(levels.min(), levels.max(), DET_POINTS))
    return {
        "threshold": [float(t) for t in thresholds],
        "miss_rate": [float((best < t).mean()) if len(best) else None for t in thresholds],
        "fa_per_hour": [count_false_alarms(negatives, t) / hours if hours else None for t in thresholds],
    }


def selection_measure(positives: list[ScoredStream], negatives: list[ScoredStream]) -> float:
    """Return the criterion for the best checkpoint (lower is better): mean miss rate at 0.5, 2 and 8 false alarms/h.

    There are three rates because, on an hour or two of speech, a single rate depends on one or two peaks.
    """
    rates = (0.5, 2.0, 8.0)
    return float(np.mean([miss_rate_at(positives, threshold_for(negatives, r).threshold).value for r in rates]))
