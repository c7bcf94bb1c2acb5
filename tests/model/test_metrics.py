"""Metrics: intervals against scipy, debouncing, thresholds for a known rate, monotonic curves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from model.metrics import (
    DET_POINTS,
    HIT_AFTER_S,
    HIT_BEFORE_S,
    REFRACTORY_S,
    SCORE_PERIOD_S,
    ScoredStream,
    count_false_alarms,
    det_curve,
    detections,
    false_alarm_peaks,
    miss_rate_at,
    phrase_scores,
    poisson_interval,
    selection_measure,
    threshold_for,
    wilson_interval,
)
from model.runtime.detector import Trigger, logit, smooth_scores

GAP = round(REFRACTORY_S / SCORE_PERIOD_S)
HOUR = round(3600 / SCORE_PERIOD_S)  # scores
SCORES = arrays(np.float32, st.integers(0, 200), elements=st.floats(0, 1, width=32))


def negative(scores: np.ndarray) -> ScoredStream:
    return ScoredStream(np.asarray(scores, np.float32), np.zeros(0))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_matches_scipy(case: tuple[int, int]) -> None:
    successes, trials = case
    interval = wilson_interval(successes, trials)
    reference = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert interval.low == pytest.approx(reference.low, abs=1e-9)
    assert interval.high == pytest.approx(reference.high, abs=1e-9)
    assert 0 <= interval.low <= interval.value + 1e-12 and interval.value - 1e-12 <= interval.high <= 1


@given(st.integers(0, 500), st.floats(0.01, 1000))
def test_the_poisson_interval_is_exact(events: int, hours: float) -> None:
    interval = poisson_interval(events, hours)
    assert interval.value == events / hours
    # Garwood: at the high rate, at most this many events have a probability of 2.5 %; at the low rate, at least.
    assert stats.poisson.cdf(events, interval.high * hours) == pytest.approx(0.025, abs=1e-6)
    if events:
        assert stats.poisson.sf(events - 1, interval.low * hours) == pytest.approx(0.025, abs=1e-6)
    else:
        assert interval.low == 0


def test_unmeasured_figures_are_null_in_json() -> None:
    nothing, no_time = wilson_interval(0, 0), poisson_interval(0, 0.0)
    assert np.isnan(nothing.value) and (nothing.low, nothing.high) == (0, 1)
    assert no_time.high == float("inf")
    text = json.dumps([nothing.as_dict(), no_time.as_dict()], allow_nan=False)
    assert json.loads(text)[0] == {"value": None, "low": 0.0, "high": 1.0}


def test_a_hit_suppresses_detections_in_the_refractory_time() -> None:
    scores = np.zeros(5 * GAP, np.float32)
    scores[[10, 11, 10 + GAP - 1, 10 + GAP, 4 * GAP]] = 0.9
    assert detections(scores, 0.9).tolist() == [10, 10 + GAP, 4 * GAP]
    scores[20] = 0.95  # the same utterance, with a higher score
    assert detections(scores, 0.9).tolist() == [10, 4 * GAP]
    assert detections(scores, 0.96).tolist() == []
    assert detections(np.tile(np.repeat(np.float32([0.9, 0.1]), GAP), 5), 0.5).tolist() == [
        2 * GAP * n for n in range(5)
    ]


def test_a_score_that_stays_high_is_one_detection_until_it_rises_again() -> None:
    scores = np.full(10 * GAP, 0.1, np.float32)
    scores[5 : 8 * GAP] = np.linspace(0.95, 0.7, 8 * GAP - 5)  # the speaker stopped within the phrase
    assert detections(scores, 0.6).tolist() == [5]
    scores[6 * GAP] = 0.95
    assert detections(scores, 0.6).tolist() == [5, 6 * GAP]
    peaks = false_alarm_peaks([ScoredStream(scores, np.zeros(0))])
    assert 2 <= (peaks > 0.6).sum() <= 3, "a high score is not one peak per second"


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_trigger_fires_independently_of_chunk_sizes(size: int) -> None:
    scores = np.random.default_rng(0).beta(0.5, 0.7, 1000).astype(np.float32)
    trigger = Trigger(0.6, GAP)
    fired = [
        start + index for start in range(0, len(scores), size) for index in trigger.fired(scores[start : start + size])
    ]
    assert fired == detections(scores, 0.6).tolist() and len(fired) > 10
    assert detections(np.zeros(0, np.float32), 0.5).tolist() == []


@given(SCORES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_fires_more_often(scores: np.ndarray, one: float, other: float) -> None:
    low, high = sorted((one, other))
    at_low, at_high = detections(scores, low), detections(scores, high)
    assert len(at_high) <= len(at_low)
    assert (np.diff(at_low) >= GAP).all() and (scores[at_low] >= np.float32(low)).all()
    if len(at_low) == 0:
        assert not (scores >= low).any()


@given(SCORES, st.floats(0, 1))
def test_false_alarms_never_outnumber_peaks(scores: np.ndarray, threshold: float) -> None:
    stream = negative(scores)
    peaks = false_alarm_peaks([stream])
    assert (np.diff(peaks) <= 0).all()
    assert count_false_alarms([stream], threshold) <= (peaks >= np.float32(threshold)).sum()
    assert len(scores) == 0 or peaks[0] == scores.max()


def test_a_hit_counts_shortly_before_and_up_to_a_second_after_the_end() -> None:
    def best(hit_s: float) -> float:
        scores = np.zeros(200, np.float32)
        scores[round(hit_s / SCORE_PERIOD_S) - 1] = 1.0  # the score that ends at hit_s
        return float(phrase_scores([ScoredStream(scores, np.array([8.0]))])[0])

    assert best(8.0) == best(8.0 + HIT_AFTER_S - 0.08) == best(8.0 - HIT_BEFORE_S) == 1.0
    assert best(8.0 - HIT_BEFORE_S - 0.2) == best(8.0 + HIT_AFTER_S + 0.2) == 0.0
    assert phrase_scores([ScoredStream(np.ones(3, np.float32), np.array([60.0]))]).tolist() == [0.0]


def test_two_occurrences_in_a_stream_are_counted_separately() -> None:
    scores = np.zeros(400, np.float32)
    scores[104], scores[205] = 0.8, 0.3
    stream = ScoredStream(scores, np.array([8.2, 16.3]))
    np.testing.assert_allclose(phrase_scores([stream]), [0.8, 0.3], atol=1e-6)
    assert miss_rate_at([stream], 0.5).value == 0.5


def test_an_observed_threshold_allows_exactly_the_requested_alarms() -> None:
    scores = np.full(10 * HOUR, 0.01, np.float32)
    peaks = np.linspace(0.1, 0.99, 50, dtype=np.float32)
    scores[np.arange(50) * 5000 + 100] = np.random.default_rng(0).permutation(peaks)
    streams = [negative(part) for part in np.split(scores, 10)]
    for rate, alarms in ((0.3, 3), (0.5, 5), (2.0, 20)):
        operating = threshold_for(streams, rate)
        assert not operating.extrapolated
        assert count_false_alarms(streams, operating.threshold) == alarms
        # The lowest such threshold: just above the highest peak that must not fire.
        assert operating.threshold == np.nextafter(peaks[-1 - alarms], np.float32(2))


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, st.integers(50, 3000), elements=st.floats(0, 0.9375, width=32)), st.floats(3, 40))
def test_an_observed_threshold_never_exceeds_its_rate(scores: np.ndarray, allowed: float) -> None:
    streams = [negative(scores), negative(scores[::-1])]
    hours = sum(s.hours for s in streams)
    operating = threshold_for(streams, allowed / hours * (1 + 1e-9))
    assert not operating.extrapolated
    assert count_false_alarms(streams, operating.threshold) <= allowed * (1 + 1e-6)


def exponential_tail(hours: float, per_hour: float, scale: float, base: float, seed: int) -> list[ScoredStream]:
    """Return streams whose peaks come at random, with logits above ``base`` from an exponential of that scale."""
    rng = np.random.default_rng(seed)
    scores = np.full(round(hours * HOUR), 1e-4, np.float32)
    for block in np.flatnonzero(rng.random(len(scores) // (2 * GAP)) < per_hour / HOUR * 2 * GAP):
        scores[2 * GAP * block + 3 : 2 * GAP * block + 5] = sigmoid(base + rng.exponential(scale))
    return [negative(part) for part in np.array_split(scores, 20)]


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_extrapolating_an_exponential_tail_recovers_its_threshold(rate: float) -> None:
    """2 hours with 400 peaks an hour: the rates are far rarer than the streams are long."""
    scale, base, per_hour = 0.8, -4.0, 400.0
    right = base + scale * np.log(per_hour / rate)
    errors = []
    for seed in range(30):
        operating = threshold_for(exponential_tail(2.0, per_hour, scale, base, seed), rate)
        assert operating.extrapolated
        errors.append(float(logit(operating.threshold)) - right)
    assert abs(np.mean(errors)) < 0.35, "a factor of at most 1.5 in the rate, on average"
    assert np.std(errors) < 1.2


def test_a_bounded_tail_is_not_extrapolated_beyond_its_end() -> None:
    """Second-pass scores of common words have such an upper limit."""
    end, rate, hours = 2.0, 0.5, 2.0
    heights = []
    for seed in range(30):
        excess = np.random.default_rng(seed).exponential(1.0, 800)
        peaks = end - 6.0 * np.exp(-0.5 * excess)  # generalized Pareto, shape -0.5
        streams = [negative(np.repeat(sigmoid(peak), 2 * GAP).astype(np.float32)) for peak in peaks]
        streams.append(negative(np.full(round(hours * HOUR) - 2 * GAP * len(peaks), 1e-4, np.float32)))
        operating = threshold_for(streams, rate)
        assert operating.extrapolated
        heights.append(float(logit(operating.threshold)))
    right = end - 6.0 * (rate * hours / 800) ** 0.5
    assert abs(np.mean(heights) - right) < 0.2  # an exponential tail would be 0.63 higher, beyond the end


def test_rarer_rates_have_higher_thresholds_even_with_few_peaks() -> None:
    streams = exponential_tail(1.0, 300.0, 0.7, -3.0, 0)
    thresholds = [threshold_for(streams, rate).threshold for rate in (0.02, 0.1, 0.5, 2.0)]
    assert thresholds == sorted(thresholds, reverse=True)
    for scores in (np.zeros(0), np.zeros(3), np.full(5, 0.2), np.full(500, 0.2), np.ones(500)):
        assert 0 <= threshold_for([negative(scores)], 0.1).threshold <= 1
    assert 0 <= threshold_for([], 0.1).threshold <= 1


@settings(deadline=None, max_examples=30)
@given(st.lists(SCORES, min_size=1, max_size=5), st.lists(SCORES, min_size=1, max_size=3))
def test_a_det_curve_is_monotonic(positive: list[np.ndarray], other: list[np.ndarray]) -> None:
    positives = [ScoredStream(scores, np.array([2.0])) for scores in positive]
    curve = det_curve(positives, [negative(scores) for scores in other])
    assert np.all(np.diff(curve["threshold"]) >= 0)
    assert np.all(np.diff(curve["miss_rate"]) >= 0)
    if sum(len(s) for s in other):
        assert np.all(np.diff(curve["fa_per_hour"]) <= 0)
    assert {len(values) for values in curve.values()} == {DET_POINTS}


def test_a_det_curve_reaches_both_ends() -> None:
    rng = np.random.default_rng(0)
    positives = [ScoredStream(rng.random(50).astype(np.float32), np.array([2.0])) for _ in range(40)]
    curve = det_curve(positives, [negative(rng.random(5000))])
    assert curve["miss_rate"][0] == 0 and curve["fa_per_hour"][0] > 100
    assert curve["fa_per_hour"][-1] <= 5000 / HOUR * 3600


def test_the_selection_measure_is_lower_for_the_better_detector() -> None:
    rng = np.random.default_rng(0)
    negatives = exponential_tail(1.0, 300.0, 0.7, -3.0, 0)

    def positives(height: float) -> list[ScoredStream]:
        return [
            ScoredStream(sigmoid(rng.normal(height, 1.0, 60)).astype(np.float32), np.array([3.0])) for _ in range(60)
        ]

    good, bad = selection_measure(positives(3.0), negatives), selection_measure(positives(-3.0), negatives)
    assert 0 <= good < 0.2 < 0.5 < bad <= 1


@given(st.floats(0, 1))
def test_the_logit_is_finite_and_inverted_by_the_sigmoid(score: float) -> None:
    assert np.isfinite(logit(score))
    assert sigmoid(logit(score)) == pytest.approx(score, abs=1e-8)


def test_utterances_three_seconds_apart_are_separate_detections() -> None:
    """Each is detected again within a second with a better score, which must not merge it with the next one."""
    scores = np.full(20 * 37, 0.001, np.float32)  # 2.96 s each
    for start in range(10, len(scores), 37):
        scores[start], scores[start + 12] = 0.9, 0.98
    assert detections(scores, 0.5).tolist() == list(range(10, len(scores), 37))


def test_a_phrase_end_in_two_windows_is_one_detection() -> None:
    """An encoder repeats each window's score six times, and the second window with an end often scores higher."""
    for first, second, third in ((0.4, 0.95, 0.01), (0.4, 0.95, 0.3), (0.35, 0.6, 0.9)):
        windows = [0.001, first, second, third, 0.001, 0.001] * 3
        scores = smooth_scores(np.repeat(np.float32(windows), 6))
        assert len(detections(scores, 0.3)) == 3, (first, second, third)
        assert (false_alarm_peaks([negative(scores)]) > 0.3).sum() == 3
