"""Verdicts from a detector's figures: sentences about detections, and a state that decides the next step."""

from __future__ import annotations

from typing import Any

import pytest

from model.metrics import wilson_interval
from pipeline.training.reporting.verdict import expected_of_people, misses_most, predicts_people, verdict_of
from tests.support.detector_versions import a_share, make_report


def a_report(people: int = 0, **summary: Any) -> dict[str, Any]:
    report = make_report(people=people)
    report["summary"] |= {"confusables_accepted": a_share(1, 10), **summary}
    return report


def as_large_detector(report: dict[str, Any]) -> dict[str, Any]:
    report["size"] = "large"
    report["results"]["by_engine"].append({"engine": "piper", "condition": "clean", "clips": 1})
    return report


def test_a_verdict_without_recordings_of_people_says_so() -> None:
    said = str(verdict_of(a_report()).sentence)
    assert said == (
        "It detected 34 of 40 test utterances by synthetic voices, and how well it detects people was not "
        "measured; 1 of 10 confusable phrases triggers it; 1 false alarm in 2 hours of other speech and noise."
    )


def test_a_verdict_counts_recordings_of_people() -> None:
    assert str(verdict_of(a_report(people=19)).sentence).startswith(
        "It detected 15 of 19 recordings of people (the average of quiet, noise and distance); 1 of 10"
    )


def test_a_large_detectors_verdict_predicts_a_range_for_people() -> None:
    report = as_large_detector(a_report())
    assert predicts_people(report) and not predicts_people(a_report())
    assert str(verdict_of(report).sentence).startswith(
        "Expect it to detect 11 to 20 of 20 utterances by real people in quiet and 6 to 19 in "
    )
    report["summary"]["miss_rate_noisy"] = a_share(0, 0)  # was not measured
    assert "not measured" in verdict_of(report).sentence


def test_a_verdict_names_some_confusables_that_trigger_it() -> None:
    report = a_report(fooled_by=["hay campus", "hey come past", "eh compass", "okay compass"])
    wakes = "; 1 of 10 confusable phrases triggers it (for example “hay campus”, “hey come past”, “eh compass”); "
    assert wakes in verdict_of(report).sentence


def test_zero_and_not_tested_are_distinguished() -> None:
    nothing = {"value": 0.0, "low": 0.0, "high": 1.0}
    report = a_report(confusables_accepted=nothing, fa_per_hour=nothing)
    report["results"]["hours"] = 0.75
    assert "none of 10 confusable phrases triggers it; no false alarm in 45 minutes" in verdict_of(report).sentence
    report["results"]["confusables"]["said"] = report["results"]["hours"] = 0
    assert "confusable phrases were not tested; other speech was not tested" in verdict_of(report).sentence


@pytest.mark.parametrize(
    ("effort", "people", "summary", "state"),
    [
        ("trial", 9, {"miss_rate_clean": a_share(6, 10)}, "useless"),
        ("trial", 9, {}, "trial"),
        ("quick", 9, {"confusables_accepted": a_share(3, 10)}, "alike"),
        ("quick", 9, {"fa_per_hour": {"value": 1.5, "low": 0.1, "high": 4.0}}, "wakes"),
        ("quick", 9, {"fa_per_hour": {"value": 1.5}, "confusables_accepted": a_share(3, 10)}, "wakes"),
        ("standard", 0, {}, "unproven"),
        ("standard", 4, {}, "unproven"),
        ("standard", 9, {}, "good"),
        ("standard", 9, {"confusables_accepted": a_share(0, 0)}, "good"),
    ],
)
def test_each_state_has_its_advice(effort: str, people: int, summary: dict[str, Any], state: str) -> None:
    verdict = verdict_of({**a_report(people, **summary), "effort": effort})
    assert verdict.state == state and verdict.advice
    assert (state == "useless") == misses_most({**a_report(people, **summary)["summary"]})


@pytest.mark.parametrize(("people", "missed", "state"), [(9, 3, "good"), (9, 4, "misses"), (4, 4, "unproven")])
def test_a_detector_that_misses_people_is_not_good(people: int, missed: int, state: str) -> None:
    report = a_report(people)
    report["results"]["people"]["miss_rate"] = a_share(missed, people)
    assert verdict_of(report).state == state


def test_the_expected_range_covers_sampling_and_test_error() -> None:
    few, many = (expected_of_people(wilson_interval(n / 5, n).as_dict()) for n in (20, 100_000))
    assert few["value"] == many["value"] == 0.2
    # Of very many utterances, the error alone: 1.96 x 0.8 logits.
    assert (many["low"], many["high"]) == pytest.approx((0.0495, 0.5453), abs=2e-3)
    assert few["low"] < many["low"] and many["high"] < few["high"]
    nothing, everything = (expected_of_people(wilson_interval(n, 60).as_dict()) for n in (0, 60))
    assert nothing["low"] == 0.0 and 0.06 < nothing["high"] < 0.2
    assert everything["high"] == 1.0 and everything["low"] == pytest.approx(1.0 - nothing["high"])
    unknown = {"value": None, "low": 0.0, "high": 1.0}
    assert expected_of_people(unknown) == unknown
