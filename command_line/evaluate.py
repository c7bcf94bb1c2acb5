"""``evaluate``: the miss rate and false alarms of a detector on the user's own recordings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.console import Screen, clock, table
from command_line.options import Commands, Parser, define_command, folder
from core.errors import HarkError

if TYPE_CHECKING:
    from pipeline.serving.evaluate import Evaluation, Outcome

LISTED = 20  # maximum missed recordings and false alarms listed


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "evaluate", "BUNDLE --positives DIR --negatives DIR", run_evaluate)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that training made, or its folder")
    help_text = "recordings that each contain the phrase once"
    parser.add_argument("--positives", type=folder, metavar="DIR", help=help_text)
    help_text = "recordings of any length without the phrase: speech, music, a room"
    parser.add_argument("--negatives", type=folder, metavar="DIR", help=help_text)
    parser.add_argument("--int8", action="store_true", help="use the model with 8-bit weights, if the bundle has one")


def run_evaluate(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``evaluate BUNDLE``; an unreadable recording does not stop the others."""
    from pipeline.serving.detection import open_detector
    from pipeline.serving.evaluate import evaluate

    if options.positives is None and options.negatives is None:
        raise HarkError(
            "There is nothing to measure on.",
            "Neither --positives nor --negatives was given.",
            "Add --positives DIR, --negatives DIR, or both.",
        )
    detector = open_detector(options.bundle, int8=options.int8)
    usual = float(detector.bundle.manifest["default_fa_per_day"])
    with screen.reporter() as reporter:
        result = evaluate(detector, options.positives, options.negatives, reporter)
    failed = [(one.file, one.failure) for one in result.failed if one.failure is not None]
    for _, error in failed:
        screen.warn_of(error)
    _show(result, usual, screen)
    return screen.results(_result(detector.phrase, result, usual), failed)


def _result(phrase: str, result: Evaluation, usual: float) -> dict[str, Any]:
    return {
        "phrase": phrase,
        "positives": {"recordings": result.positives},
        "negatives": {"recordings": result.negatives, "hours": round(result.hours, 4)},
        "default_fa_per_day": usual,
        "thresholds": [
            {
                "fa_per_day": outcome.fa_per_day,
                "threshold": outcome.threshold,
                "missed": outcome.missed,
                "miss_rate": outcome.miss_rate.as_dict(),
                "duplicates": outcome.duplicates,
                "false_alarms": [{"file": file, "time_s": time_s} for file, time_s in outcome.alarms],
                "fa_per_hour": outcome.fa_per_hour.as_dict(),
            }
            for outcome in result.outcomes
        ],
    }


def _show(result: Evaluation, usual: float, screen: Screen) -> None:
    rows = [
        (
            f"{outcome.fa_per_day:g}{' (usual)' if outcome.fa_per_day == usual else ''}",
            f"{outcome.threshold:.3f}",
            _missed(outcome, result.positives),
            str(outcome.duplicates) if result.positives else "",
            _alarms(outcome, result.hours),
        )
        for outcome in result.outcomes
    ]
    screen.show(table(("target per day", "threshold", "missed", "detected twice", "false alarms per hour"), rows))
    screen.show(
        f"Recordings with the phrase: {result.positives}; hours without it: {result.hours:.2f}. Intervals are 95 %."
    )
    at_usual = next(outcome for outcome in result.outcomes if outcome.fa_per_day == usual)
    lines = [f"missed       {file}" for file in at_usual.missed]
    lines += [f"false alarm  {file}  {clock(time_s, exact=True)}" for file, time_s in at_usual.alarms]
    for line in lines[:LISTED]:
        screen.show_line(line)
    if len(lines) > LISTED:
        screen.show_line(f"and {len(lines) - LISTED} more; --json has all")


def _missed(outcome: Outcome, positives: int) -> str:
    if not positives:
        return ""
    rate = outcome.miss_rate
    return f"{len(outcome.missed)}: {100 * rate.value:.1f} % ({100 * rate.low:.1f} – {100 * rate.high:.1f})"


def _alarms(outcome: Outcome, hours: float) -> str:
    rate = outcome.fa_per_hour
    return f"{len(outcome.alarms)}: {rate.value:.2f} ({rate.low:.2f} – {rate.high:.2f})" if hours else ""
