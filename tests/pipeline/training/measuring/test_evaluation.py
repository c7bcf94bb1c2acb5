"""Evaluation: results from the test, each counted in the right place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.metrics import ScoredStream, count_false_alarms, poisson_interval, wilson_interval
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, threshold_at, thresholds_for
from pipeline.training.measuring.evaluation import REPORTED_FA_PER_HOUR, accepted_confusables, at_threshold, measure
from pipeline.training.measuring.scored_split import ScoredSplit
from tests.support.scored_split import MINUTE, split_of

Measured = Callable[[pd.DataFrame], dict[str, Any]]


@pytest.fixture(scope="module")
def validation() -> ScoredSplit:
    return split_of(0)


@pytest.fixture(scope="module")
def test() -> ScoredSplit:
    return split_of(1)


@pytest.fixture(scope="module")
def thresholds(validation: ScoredSplit) -> list[dict[str, Any]]:
    return thresholds_for(validation)


def test_masks_partition_the_segments(validation: ScoredSplit) -> None:
    masks = np.stack([validation.positive, validation.confusables, validation.ordinary])
    assert (masks.sum(axis=0) == 1).all()
    assert masks.sum(axis=1).tolist() == [80, 40, 240]
    assert len(validation.pick(validation.confusables)) == 40


@pytest.fixture(scope="module")
def measured(validation: ScoredSplit, test: ScoredSplit, thresholds: list[dict[str, Any]]) -> Measured:
    """Measure the test's streams with another table."""
    return lambda table: measure(ScoredSplit(table, test.streams), thresholds, validation)


@pytest.fixture(scope="module")
def results(test: ScoredSplit, measured: Measured) -> dict[str, Any]:
    return measured(test.table)


def test_results_use_the_test_split_at_the_bundles_thresholds(
    test: ScoredSplit, thresholds: list[dict[str, Any]], results: dict[str, Any]
) -> None:
    assert [row["fa_per_hour_wanted"] for row in results["at_rates"]] == list(REPORTED_FA_PER_HOUR)
    by_rate = {row["fa_per_hour_wanted"]: row for row in results["at_rates"]}
    for rate in (0.5, 2.0):
        assert by_rate[rate]["threshold"] == threshold_at(thresholds, 24 * rate), (
            "the report has the thresholds of the bundle"
        )
    assert results["default_threshold"] == by_rate[DEFAULT_FA_PER_DAY / 24]["threshold"]
    negatives = test.pick(test.ordinary)
    hours = sum(s.hours for s in negatives)
    assert results["hours"] == pytest.approx(hours) == pytest.approx(4.0)
    for row in results["at_rates"]:
        assert row["false_alarms"] == count_false_alarms(negatives, row["threshold"])
        assert row["fa_per_hour"]["value"] == pytest.approx(row["false_alarms"] / hours)
        assert row["fa_per_hour"]["low"] <= row["fa_per_hour"]["value"] <= row["fa_per_hour"]["high"]
        assert set(row["miss_rate"]) == {"all", "clean", "noisy"}
    for row in results["at_thresholds"]:
        assert row["false_alarms"] == count_false_alarms(negatives, row["threshold"])
    shipped = {row["threshold"] for row in thresholds}
    assert [row["threshold"] for row in results["at_thresholds"]] == sorted(shipped)
    misses = [row["miss_rate"]["all"]["value"] for row in results["at_rates"]]
    assert misses == sorted(misses, reverse=True) and misses[0] > misses[-1]
    json.dumps(results, allow_nan=False)


def test_an_utterance_scored_twice_is_one_trial(test: ScoredSplit, measured: Measured, results: dict[str, Any]) -> None:
    """40 utterances quiet and in noise: the mean of 80 renderings, with the interval of 40 trials."""
    table = test.table.copy()
    positive = np.flatnonzero(test.positive)
    table.loc[positive, "clip_id"] = [1000 + place // 4 * 2 + place % 2 for place in range(len(positive))]
    confusing = np.flatnonzero(test.confusables)
    table.loc[confusing, "clip_id"] = [2000 + place // 2 for place in range(len(confusing))]
    twice = measured(table)
    assert (twice["positives"], twice["utterances"]) == (80, 40) and results["utterances"] == 80
    for rate, before in zip(twice["at_rates"], results["at_rates"]):
        new, old = rate["miss_rate"]["all"], before["miss_rate"]["all"]
        assert new["value"] == pytest.approx(old["value"])
        assert new == pytest.approx(wilson_interval(old["value"] * 40, 40).as_dict())
        assert new["low"] < old["low"] and new["high"] > old["high"]
        assert rate["miss_rate"]["clean"] == before["miss_rate"]["clean"], "each utterance is in quiet once"
    assert twice["confusables"]["said"] == 40
    assert twice["confusables"]["rate"] == pytest.approx(wilson_interval(3, 20).as_dict())
    assert all(row["utterances"] <= row["clips"] for row in twice["by_speaker"])


def test_an_hour_in_three_conditions_counts_once() -> None:
    """False alarms of one hour are not independent: the interval is that of one hour, the rate that of all."""
    quiet = np.full(60 * MINUTE, 0.1, np.float32)
    loud = quiet.copy()
    loud[MINUTE] = 0.9
    streams = [ScoredStream(scores, np.empty(0)) for scores in (loud, loud, quiet)]
    row = {"text": "", "voice": "", "speaker": "", "clip_id": -1, "label": 0, "bucket": "plain_negative"}
    table = pd.DataFrame([{**row, "engine": "bank:a", "condition": name} for name in ("clean", "noisy", "far")])
    split = ScoredSplit(table, streams)
    assert split.distinct_hours(split.ordinary) == pytest.approx(1.0)
    found = at_threshold(split, 0.5)
    assert found["false_alarms"] == 2 and found["fa_per_hour"]["value"] == pytest.approx(2 / 3)
    expected = poisson_interval(2 / 3, 1.0)
    assert (found["fa_per_hour"]["low"], found["fa_per_hour"]["high"]) == (expected.low, expected.high)
    assert expected.high > poisson_interval(2, 3.0).high
    table["engine"] = ["bank:a", "bank:a", "noise"]
    assert ScoredSplit(table, streams).distinct_hours(split.ordinary) == pytest.approx(2.0)


def test_misses_exclude_rule_based_voices(test: ScoredSplit, measured: Measured, results: dict[str, Any]) -> None:
    assert results["rule_based"]["utterances"] == results["utterances"] == 80, "there are no other voices"
    table = test.table.copy()
    neural = test.positive & (table["engine"] == "flite").to_numpy()
    table.loc[neural, "engine"] = "hibari"
    found = measured(table)
    assert (found["utterances"], found["rule_based"]["utterances"]) == (40, 40)
    assert found["clips"] == {"all": 40, "clean": 20, "noisy": 20}
    own = {row["condition"]: row["miss_rate"] for row in found["by_engine"] if row["engine"] == "hibari"}
    for row in found["at_rates"]:
        if row["threshold"] == found["default_threshold"]:
            assert row["miss_rate"]["clean"] == own["clean"] and row["miss_rate"]["noisy"] == own["noisy"]
    assert found["far"]["utterances"] == 0 and found["far"]["miss_rate"]["value"] is None
    table.loc[np.flatnonzero(neural)[:10], "condition"] = "far"
    apart = measured(table)
    assert (apart["utterances"], apart["far"]["utterances"], apart["rule_based"]["utterances"]) == (30, 10, 40)


def test_a_report_names_no_speakers(test: ScoredSplit, measured: Measured, results: dict[str, Any]) -> None:
    table = test.table.copy()
    voices = sorted(set(table["speaker"][test.positive]))
    for name, engine, speaker in zip(voices, ("corpus", "mined", "corpus"), ("anna", "anna", "ben")):
        table.loc[table["speaker"] == name, ["engine", "speaker"]] = engine, speaker
    found = measured(table)["by_speaker"]
    people = {(row["engine"], row["speaker"]) for row in found}
    assert {("corpus", "#1"), ("corpus", "#2"), ("mined", "#1")} < people and len(people) == len(results["by_speaker"])
    assert voices[3] in {speaker for _engine, speaker in people}


def test_table_counts_add_up(results: dict[str, Any]) -> None:
    assert results["positives"] == 80
    by_engine = {(r["engine"], r["condition"]): r for r in results["by_engine"]}
    assert {key: r["clips"] for key, r in by_engine.items()} == {
        (engine, condition): 20 for engine in ("espeak", "flite") for condition in ("clean", "noisy")
    }
    assert by_engine["flite", "clean"]["miss_rate"]["value"] > by_engine["espeak", "clean"]["miss_rate"]["value"]
    assert sum(r["clips"] for r in results["by_speaker"]) == 80 and len(results["by_speaker"]) == 4
    at_default = next(r for r in results["at_rates"] if r["fa_per_hour_wanted"] == 0.5)
    assert sum(r["false_alarms"] for r in results["false_alarms_by"]) == at_default["false_alarms"]
    assert sum(r["hours"] for r in results["false_alarms_by"]) == pytest.approx(results["hours"])
    assert {r["engine"] for r in results["false_alarms_by"]} == {"corpus", "noise"}
    confusables = results["confusables"]
    assert (confusables["said"], confusables["accepted"]) == (40, 6) and confusables["rate"]["value"] == 0.15
    assert confusables["worst"] == [
        {"text": "hey compost", "accepted": 3, "said": 20},
        {"text": "hay compass", "accepted": 3, "said": 20},
    ]
    for name in ("all", "clean", "noisy"):
        curve = results["det"][name]
        assert np.all(np.diff(curve["miss_rate"]) >= 0) and np.all(np.diff(curve["fa_per_hour"]) <= 0)


def test_accepted_confusables_list_real_words_first(test: ScoredSplit) -> None:
    table = test.table.copy()
    confusables = np.flatnonzero(test.confusables)
    table.loc[confusables[::2], "text"] = "hey clompass"  # no word
    found = accepted_confusables(ScoredSplit(table, test.streams), 0.0)
    assert [row["text"] for row in found["worst"]][-1] == "hey clompass"
    table.loc[confusables, "bucket"] = "inbetween"
    table.loc[confusables[1::2], "text"] = "hey compost good night"
    table.loc[confusables[0], ["text", "bucket"]] = ["hey compost", "confusable"]
    found = accepted_confusables(ScoredSplit(table, test.streams), 0.0)
    assert found["worst"][0] == {"text": "hey compost", "accepted": 1, "said": 1}, "phrases come before sentences"


def test_without_confusables_and_noisy_positives_the_figures_are_missing(
    validation: ScoredSplit, test: ScoredSplit, thresholds: list[dict[str, Any]]
) -> None:
    keep = ~test.confusables & ~(test.positive & (test.table["condition"] == "noisy").to_numpy())
    fewer = ScoredSplit(test.table[keep].reset_index(drop=True), test.pick(keep))
    results = measure(fewer, thresholds, validation)
    assert results["confusables"]["rate"] == {"value": None, "low": 0.0, "high": 1.0}
    assert results["at_rates"][0]["miss_rate"]["noisy"]["value"] is None
