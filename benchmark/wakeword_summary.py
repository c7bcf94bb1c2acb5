"""Summaries of the wake-word benchmark over several bundles, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from benchmark.streams import CONDITIONS
from model.metrics import QUANTILE, IntervalDict, wilson_interval
from model.runtime.detector import logit
from pipeline.training.reporting.verdict import expected_of_people

RATES = (0.1, 0.5, 2.0)  # false alarms per hour
MAX_LOST = 0.02  # maximum miss rate of a shipped threshold beyond that of the best threshold at its rate
REAL, SYNTHESIZED = "real recordings", "synthesized"  # kinds of clips of the phrase

Figures = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """The figures of one phrase and, for pooling, its missed clips ``[condition][rate]`` (bool [clips])."""

    name: str
    phrase: str
    figures: Figures
    missed: Mapping[str, Mapping[str, np.ndarray]]


def pooled(measured: Sequence[Measured]) -> Figures:
    """Return the miss rate of each phrase, condition and rate: mean and range over its bundles, and one interval.

    The bundles score the same clips, so their misses of a clip are not independent: the interval is Wilson's with the
    number of trials that matches the variance between clips (the design effect; Korn and Graubard 1998). It applies to
    these bundles. Only the range shows the effect of another seed.
    """
    phrases: dict[str, list[Measured]] = {}
    for bundle in measured:
        phrases.setdefault(bundle.phrase, []).append(bundle)
    result: Figures = {}
    for phrase, bundles in phrases.items():
        conditions: Figures = {}
        for condition in CONDITIONS:
            conditions[condition] = {
                rate: _pool(np.stack([bundle.missed[condition][rate] for bundle in bundles]))
                for rate in bundles[0].missed[condition]
            }
        accepted = [bundle.figures["confusables"]["accepted"]["value"] for bundle in bundles]
        result[phrase] = {
            "bundles": [bundle.name for bundle in bundles],
            "positives": bundles[0].figures["positives"],
            "clips": bundles[0].figures["conditions"]["clean"]["clips"],
            "conditions": conditions,
            "confusables_accepted": {
                "mean": float(np.mean(accepted)),
                "lowest": min(accepted),
                "highest": max(accepted),
            },
        }
    return result


def _pool(missed: np.ndarray) -> Figures:
    """Return mean, range and interval of a miss rate from misses [bundles, clips]."""
    rates = missed.mean(axis=1)
    of_clips = missed.mean(axis=0)
    mean, clips = float(of_clips.mean()), missed.shape[1]
    spread = float(np.square(of_clips - mean).sum()) / (clips * max(clips - 1, 1))
    trials = min(mean * (1 - mean) / spread, missed.size) if spread > 0 else clips
    interval = wilson_interval(round(trials * mean), round(trials))
    return {
        "mean": mean,
        "lowest": float(rates.min()),
        "highest": float(rates.max()),
        "interval": {"low": min(interval.low, mean), "high": max(interval.high, mean)},
    }


def average(phrases: Mapping[str, Any]) -> Figures:
    """Return mean miss rates over the phrases with real recordings, with equal weights."""
    real = {name: figures for name, figures in phrases.items() if figures["positives"] == REAL}
    if not real:
        return {}
    result: Figures = {"phrases": sorted(real)}
    for condition in CONDITIONS:
        rows = [figures["conditions"][condition] for figures in real.values()]
        result[condition] = {f"{rate:g}": float(np.mean([row[f"{rate:g}"]["mean"] for row in rows])) for rate in RATES}
    return result


def predictions(bundles: Mapping[str, Any]) -> Figures:
    """Compare the miss rates predicted by bundles' reports with those of real people, at the shipped thresholds.

    Returns ``error`` (:func:`prediction_error`) and, for each condition:
        words: ``tested``, ``predicted``, ``missed``, ``inside``, ``inside_by_others`` and ``warnings`` of each bundle.
        inside: the number of bundles whose misses are within the interval that their report predicts.
        inside_by_others: the same if the prediction error is estimated from the other bundles; None below four bundles.
        mean_error: the mean absolute difference of the tested and the real miss rates.
        rank_correlation: Spearman's; None below three bundles, or if all are equal.
        rank_correlation_of_warnings: Spearman's of the adviser's warnings with the real miss rates.
    """
    held: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name, bundle in bundles.items():
        of_test = bundle["tested"]
        if bundle["positives"] == REAL and all(of_test.get(c, {}).get("value") is not None for c in CONDITIONS):
            held[name] = {c: (of_test[c], shipped_misses(bundle, c)) for c in CONDITIONS}
    pairs = {name: list(of.values()) for name, of in held.items()}
    result: Figures = {"error": prediction_error([pair for of in pairs.values() for pair in of])}
    for condition in CONDITIONS:
        words: Figures = {}
        for name, of in held.items():
            tested, missed = of[condition]
            others = prediction_error([pair for other in pairs if other != name for pair in pairs[other]])
            expected = expected_of_people(tested)
            words[name] = {
                "tested": tested, "predicted": expected, "missed": missed["value"], "inside": _within(missed, expected),
                "inside_by_others": None if others is None else _within(missed, expected_of_people(tested, others)),
                "warnings": bundles[name]["warnings"],
            }  # fmt: skip
        values, missed_of, warnings = (
            [word[name] for word in words.values()] for name in ("tested", "missed", "warnings")
        )
        rates = [tested["value"] for tested in values]
        by_others = [word["inside_by_others"] for word in words.values()]
        result[condition] = {
            "words": words,
            "inside": sum(word["inside"] for word in words.values()),
            "inside_by_others": None if None in by_others else sum(by_others),
            "mean_error": float(np.abs(np.subtract(rates, missed_of)).mean()) if words else None,
            "rank_correlation": _rank_correlation(rates, missed_of),
            "rank_correlation_of_warnings": _rank_correlation(warnings, missed_of),
        }
    return result


def shipped_misses(bundle: Mapping[str, Any], condition: str) -> Mapping[str, float]:
    missed: Mapping[str, float] = bundle["conditions"][condition]["as_shipped"]["miss_rate"]
    return missed


def _within(missed: Mapping[str, float], expected: IntervalDict) -> bool:
    """Return whether a miss rate is in the interval, both in whole per cent, as in a report."""
    return round(expected["low"] or 0.0, 2) <= round(missed["value"], 2) <= round(expected["high"] or 0.0, 2)


def prediction_error(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> float | None:
    """Estimate the standard deviation, in logits, of real speakers' miss rates around those of test voices.

    It is the part of the differences that the intervals do not explain (a moment estimate, DerSimonian and Laird 1986).
    It is None for fewer than six pairs, which three bundles give.
    """
    if len(pairs) < 6:
        return None
    logits = [[_logit_with_deviation(rate) for rate in pair] for pair in pairs]
    differences = np.array([(one - other) ** 2 for (one, _), (other, _) in logits])
    chance = np.array([one**2 + other**2 for (_, one), (_, other) in logits])

    def excess(error: float) -> float:
        return float((differences / (chance + error**2)).mean()) - 1.0

    return 0.0 if excess(0.0) <= 0.0 else float(optimize.brentq(excess, 0.0, 20.0))


def _logit_with_deviation(rate: Mapping[str, float]) -> tuple[float, float]:
    """Return the logit of a Wilson interval's centre, which is never 0 or 1, and its standard deviation.

    The deviation is computed from the bound that is closer to one half, which is neither 0 nor 1.
    """
    centre = (rate["low"] + rate["high"]) / 2
    bound = rate["high"] if centre < 0.5 else rate["low"]
    return float(logit(centre)), abs(float(logit(bound)) - float(logit(centre))) / QUANTILE


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    alike = len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1
    return None if alike else float(stats.spearmanr(first, second).statistic)


def threshold_accuracy(bundles: Mapping[str, Any]) -> Figures:
    """Check whether shipped thresholds achieve their target false alarms per hour.

    For each condition, returns ``bundles`` {name: {wanted, got, kept, lost}} and ``kept``, the number of bundles that
    meet their target: the measured rate is within a factor of two of it, or has an interval that contains it. ``lost``
    is the miss rate beyond that of the threshold with exactly the target rate on the same speech.
    """
    result: Figures = {}
    for condition in CONDITIONS:
        rows: Figures = {}
        for name, one in bundles.items():
            wanted, figures = one["wanted_fa_per_hour"], one["conditions"][condition]
            shipped, best = figures["as_shipped"], figures["at_fa_per_hour"].get(f"{wanted:g}")
            measured_rate = shipped["fa_per_hour"]
            holds = (
                wanted / 2 <= measured_rate["value"] <= 2 * wanted
                or measured_rate["low"] <= wanted <= measured_rate["high"]
            )
            lost = shipped["miss_rate"]["value"] - best["miss_rate"]["value"] if best else None
            rows[name] = {"wanted": wanted, "got": measured_rate, "kept": holds, "lost": lost}
        result[condition] = {"bundles": rows, "kept": sum(row["kept"] for row in rows.values())}
    return result


HEADER = (
    "what",
    "condition",
    *(f"{rate:g} FA/h" for rate in RATES),
    "own threshold: missed, FA/h, duplicates",
    "confusables",
)


def table(figures: Mapping[str, Any]) -> str:
    """Format the figures of :func:`benchmark.wakeword.bench_wakeword`: per cent of misses, with 95 % intervals."""
    rows: list[tuple[str, ...]] = []
    for device, form in {"": figures, **figures["devices"]}.items():
        rows += _rows_of_form(device, form)
    for name, bundle in figures.get("peers", {}).items():
        rows += _rows(name, bundle)
    lines = aligned([HEADER, *rows])
    lines += ["", "Percentage missed at the threshold with that many false alarms per hour on the same stream."]
    lines += ["A second detection of the same utterance is a duplicate and counts as a false alarm."]
    for condition in CONDITIONS:
        facts = figures["predictions"][condition]
        words = ", ".join(
            f"{name} {with_interval(word['predicted'])} / {percent(word['missed'])}"
            for name, word in facts["words"].items()
        )
        if words:
            by_others = "?" if facts["inside_by_others"] is None else facts["inside_by_others"]
            lines.append(
                f"Predicted by the report / missed of real people, {condition}: {words}. Inside the interval "
                f"{facts['inside']} of {len(facts['words'])}, by the error of the other words' tests "
                f"{by_others}; mean error {percent(facts['mean_error'])} points, rank "
                f"correlation {_correlation(facts['rank_correlation'])}; that of the adviser's warnings "
                f"{_correlation(facts['rank_correlation_of_warnings'])}."
            )
    for condition, facts in figures["threshold_accuracy"].items():
        if facts["bundles"]:
            lost = [row["lost"] for row in facts["bundles"].values() if row["lost"] is not None]
            lines.append(
                f"Thresholds, {condition}: {facts['kept']} of {len(facts['bundles'])} meet their target of false "
                "alarms, within a factor of 2 or the interval; missed beyond the best one: "
                + (
                    f"at most {percent(MAX_LOST)} points by {sum(share <= MAX_LOST for share in lost)} of "
                    f"{len(lost)}, mean {percent(float(np.mean(lost)))}, most {percent(max(lost))} points."
                    if lost
                    else "?"
                )
            )
    for name, bundle in figures["bundles"].items():
        training = bundle["training_overlap"]
        if training["corpora"]:
            lines.append(
                f"USED IN TRAINING of {name}: {', '.join(training['corpora'])}; its figures are too optimistic."
            )
        elif not training["known"]:
            lines.append(f"{name} does not say which real recordings it was trained on.")
    lines += [f"not measured: {what}: {why}" for what, why in figures["not_measured"].items()]
    audio = figures["streams"]
    lines.append(
        f"{audio['hours']:.1f} hours of decoded audio are stored in {audio['folder']} ({audio['mebibytes']:.0f} MiB)."
    )
    return "\n".join(lines)


def _rows_of_form(device: str, form: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the bundles' own detectors (``device`` is empty), or of their files for a device."""
    rows: list[tuple[str, ...]] = []
    where = f" ({device})" if device else ""
    for phrase, one in form["phrases"].items():
        if len(one["bundles"]) > 1:
            rows += _rows_of_phrase(phrase + where, one)
    for name, one in form["bundles"].items():
        rows += _rows(name, one)
    for condition in CONDITIONS if form["average"] else ():
        at = form["average"][condition]
        what = f"average of {len(form['average']['phrases'])} phrases{where}" if condition == "clean" else ""
        rows.append((what, condition, *(percent(at[f"{rate:g}"]) for rate in RATES), "", ""))
    return rows


def _rows(name: str, bundle: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for condition in CONDITIONS:
        figures = bundle["conditions"][condition]
        clips = (
            f"{figures['clips']} {'' if bundle['positives'] == REAL else 'SYNTHESIZED '}clips, {figures['hours']:.1f} h"
        )
        own = figures["as_shipped"]
        rows.append(
            (
                name if condition == "clean" else clips,
                condition,
                *(with_interval(at["miss_rate"]) for at in figures["at_fa_per_hour"].values()),
                f"{percent(own['miss_rate']['value'])}, {own['fa_per_hour']['value']:.2f}, {own['duplicates']}",
                with_interval(bundle["confusables"]["accepted"]) if condition == "clean" else "",
            )
        )
    return rows


def _rows_of_phrase(phrase: str, phrase_figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for condition in CONDITIONS:
        cells = [
            with_interval({"value": at["mean"], **at["interval"]})
            + f" [{percent(at['lowest'])}..{percent(at['highest'])}]"
            for at in phrase_figures["conditions"][condition].values()
        ]
        what = f"“{phrase}”, mean of {len(phrase_figures['bundles'])} [range]" if condition == "clean" else ""
        accepted = percent(phrase_figures["confusables_accepted"]["mean"]) if condition == "clean" else ""
        rows.append((what, condition, *cells, "", accepted))
    return rows


def _correlation(value: float | None) -> str:
    return "not known (fewer than three, or all alike)" if value is None else f"{value:.2f}"


def percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f}"


def with_interval(figures: Mapping[str, Any]) -> str:
    return f"{percent(figures['value'])} ({percent(figures['low'])}–{percent(figures['high'])})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
