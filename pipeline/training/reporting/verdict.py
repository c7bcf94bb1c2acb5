"""The meaning of a detector's figures for its user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audio_generation.registry import RULE_BASED
from core.worded import Worded, worded
from model.metrics import QUANTILE, IntervalDict
from model.runtime.detector import logit
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY
from pipeline.training.reporting.report_types import RunFigures

MAX_MISSED = 0.5
MAX_MISSED_OF_PEOPLE = 1 / 3  # averaged over quiet, noise and distance
MIN_OF_PEOPLE = 5  # utterances; with fewer, how well a detector detects people counts as not measured
MAX_SIMILAR_ACCEPTED = 0.2  # maximum fraction of similar phrases that may trigger a good detector
MAX_ALARMS_PER_HOUR = 2 * DEFAULT_FA_PER_DAY / 24  # per hour in the test: twice what its threshold was set for
EXAMPLES = 3  # maximum number of similar phrases that the sentence names
OF = 20  # utterances; the sentence states how many of them it detects
# Standard deviation, in logits, by which miss rates of real people differ from those of test voices, in addition to
# chance. It was measured on 14 words and phrases in quiet and in noise (docs/results.md).
PREDICTION_ERROR = 0.8
ADVICE = {  # by the state of a verdict
    "useless": worded("It misses most utterances: do not use it."),
    "trial": worded("This was only a trial: do not use it. Train the phrase properly."),
    "wakes": worded("It triggers too often: lower its false-alarm rate, or choose a more distinctive phrase."),
    "alike": worded(
        "Confusable phrases trigger it: use it where people seldom say them, lower its false-alarm rate, or "
        "choose a more distinctive phrase."
    ),
    "misses": worded("It misses many recordings of people: allow more false alarms, or train it with more effort."),
    "unproven": worded("Its test had few or no recordings of people: record yourself to see how well it detects you."),
    "good": worded("It is ready for a device."),
}


@dataclass(frozen=True)
class Verdict:
    """The performance to expect of a detector, and the next step.

    Attributes:
        state: the first of these that is true: "useless" (it misses most utterances), "trial" (a trial run made it),
            "misses" (it misses many recordings of people), "wakes" (other speech triggers it too often), "alike"
            (similar phrases do), "unproven" (few or no recordings of people were measured), "good".
        sentence: the expected numbers of detections and false alarms, estimated from the test.
        advice: what to do with the detector.
    """

    state: str
    sentence: Worded
    advice: Worded


def misses_most(summary: Mapping[str, Any]) -> bool:
    """Return whether a detector with this summary (in its ``report.json``) misses most close and quiet utterances."""
    missed = summary.get("miss_rate_clean", {}).get("value")
    return missed is not None and missed > MAX_MISSED


def predicts_people(report: RunFigures) -> bool:
    """Return whether misses of such test voices have been shown to predict those of people (docs/results.md).

    They do for large detectors, if some voices are not of rule-based synthesis.
    """
    engines = {row["engine"] for row in report["results"]["by_engine"]}
    return report["size"] == "large" and bool(engines - RULE_BASED)


def expected_of_people(rate: IntervalDict, error: float = PREDICTION_ERROR) -> IntervalDict:
    """Return the expected miss rate of real people, from that of test voices with its Wilson interval.

    Both have ``value``, ``low`` and ``high``. The interval is widened by ``error`` (a standard deviation in logits),
    with the method of Zou and Donner (2008) for adding intervals.
    """
    if rate["value"] is None or rate["low"] is None or rate["high"] is None:
        return rate
    centre = float(logit((rate["low"] + rate["high"]) / 2))  # centre of a Wilson interval

    def widened(bound: float, side: int) -> float:
        if not 1e-9 < bound < 1.0 - 1e-9:
            return round(bound)
        away = math.hypot(float(logit(bound)) - centre, QUANTILE * error)
        return 1.0 / (1.0 + math.exp(-centre - side * away))

    return {"value": rate["value"], "low": widened(rate["low"], -1), "high": widened(rate["high"], 1)}


def verdict_of(report: RunFigures) -> Verdict:
    """Return the verdict on a detector from its report (``report.json``), at the threshold that ships in its bundle."""
    state = _state(report)
    alarms = alarms_in(report["summary"]["fa_per_hour"]["value"], report["results"]["hours"])
    sentence = worded(
        "%(heard)s; %(similar)s; %(alarms)s.", heard=_detections(report), similar=_similar(report), alarms=alarms
    )
    return Verdict(state, sentence, ADVICE[state])


def _state(report: RunFigures) -> str:
    summary, people = report["summary"], report["results"]["people"]
    on_people = people["utterances"] >= MIN_OF_PEOPLE
    if misses_most(summary):
        return "useless"
    if report["effort"] == "trial":
        return "trial"
    if on_people and (people["miss_rate"]["value"] or 0.0) > MAX_MISSED_OF_PEOPLE:
        return "misses"
    if (summary["fa_per_hour"]["value"] or 0.0) > MAX_ALARMS_PER_HOUR:
        return "wakes"
    if (summary["confusables_accepted"]["value"] or 0.0) > MAX_SIMILAR_ACCEPTED:
        return "alike"
    return "good" if on_people else "unproven"


def _detections(report: RunFigures) -> Worded:
    results, summary = report["results"], report["summary"]
    people = results["people"]
    if people["utterances"]:
        hits = people["utterances"] - _times(people["miss_rate"], people["utterances"])
        return worded(
            "It detected %(heard)d of %(said)d recordings of people (the average of quiet, noise and distance)",
            heard=hits, said=people["utterances"],
        )  # fmt: skip
    quiet, noisy = summary["miss_rate_clean"], summary["miss_rate_noisy"]
    if predicts_people(report) and quiet["value"] is not None and noisy["value"] is not None:
        return worded(
            "Expect it to detect %(quiet)s of %(of)d utterances by real people in quiet and %(noisy)s in noise",
            quiet=_detected_of(quiet), noisy=_detected_of(noisy), of=OF,
        )  # fmt: skip
    utterances = results["utterances"]
    if not utterances:
        return worded("How well it detects the phrase was not measured")
    return worded(
        "It detected %(heard)d of %(said)d test utterances by synthetic voices, and how well it detects people was "
        "not measured",
        heard=utterances - _times(summary["miss_rate"], utterances), said=utterances,
    )  # fmt: skip


def _detected_of(missed: IntervalDict) -> str:
    """Format the number detected of :data:`OF` utterances: "18 to 20"."""
    expected = expected_of_people(missed)
    least, most = (OF - round((expected[name] or 0.0) * OF) for name in ("high", "low"))
    return str(most) if least == most else worded("%(least)d to %(most)d", least=least, most=most)


def _similar(report: RunFigures) -> Worded:
    similar = report["results"]["confusables"]
    if not similar["said"]:
        return worded("confusable phrases were not tested")
    if not (woken := _times(report["summary"]["confusables_accepted"], similar["said"])):
        return worded("none of %(said)d confusable phrases triggers it", said=similar["said"])
    wake = worded(
        "%(n)d of %(said)d confusable phrases triggers it", "%(n)d of %(said)d confusable phrases trigger it",
        n=woken, said=similar["said"],
    )  # fmt: skip
    texts = report["summary"].get("fooled_by", ())[:EXAMPLES]
    if not texts:
        return wake
    return worded("%(wake)s (for example %(texts)s)", wake=wake, texts=", ".join(f"“{text}”" for text in texts))


def alarms_in(fa_per_hour: float | None, hours: float) -> Worded:
    """Format the number of false alarms in that many hours of other speech, from their rate.

    Not every report has the number at the shipped threshold.
    """
    alarms = round((fa_per_hour or 0.0) * hours)
    if not hours:
        return worded("other speech was not tested")
    length = _length(hours)
    if not alarms:
        return worded("no false alarm in %(length)s of other speech and noise", length=length)
    return worded(
        "%(n)d false alarm in %(length)s of other speech and noise",
        "%(n)d false alarms in %(length)s of other speech and noise", n=alarms, length=length,
    )  # fmt: skip


def _length(hours: float) -> Worded:
    if hours < 1.95:
        return worded("%(n)d minute", "%(n)d minutes", n=round(60 * hours))
    return worded("%(n)d hour", "%(n)d hours", n=math.floor(hours + 0.05))


def _times(share: IntervalDict, of: int) -> int:
    return round((share["value"] or 0.0) * of)
