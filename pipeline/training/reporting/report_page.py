"""The page of a report (the template ``report.html``) and its DET plot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.worded import NOT_MEASURED, percent, worded, worded_again
from model.metrics import IntervalDict
from pipeline.training.configuration.efforts import BUCKET_NAMES
from pipeline.training.reporting.report_types import Report
from pipeline.training.reporting.report_words import per_hour, roughly
from pipeline.training.reporting.verdict import expected_of_people, predicts_people, verdict_of

Translate = Callable[[str], str]  # translates a sentence into the reader's language

WORST_SPEAKERS = 15  # number in the page; report.json has all


def det_plot(report: Report, image_format: str, translate: Translate = str) -> bytes:
    """Return the DET plot (miss rate against false alarms per hour, both axes logarithmic) as "svg" or "png"."""
    from matplotlib.figure import Figure  # not pyplot, whose state the threads of the portal would share

    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_subplot()
    hours = max(report["results"]["hours"], 1e-3)
    floor_misses = 0.5 / max(1, report["results"]["positives"])
    for name, colour in (("clean", "#2a7f62"), ("noisy", "#c0532b")):
        curve = report["results"]["det"][name]
        misses = [max(m, floor_misses) for m in curve["miss_rate"] if m is not None]
        alarms = [max(a or 0.0, 0.3 / hours) for a in curve["fa_per_hour"]]
        if not misses:
            continue  # not measured
        axes.plot(
            alarms,
            [100 * m for m in misses],
            color=colour,
            label=translate(name),
            linewidth=1.8,
            drawstyle="steps-post",
        )
    chosen = report["summary"]
    axes.axvline(
        max(chosen["fa_per_hour"]["value"] or 0.0, 0.3 / hours), color="#888888", linewidth=0.8, linestyle="--"
    )
    axes.axvspan(
        0.3 / hours / 2,
        1.0 / hours,
        color="#eeeeee",
        label=translate(worded("fewer than one alarm in the test")),
        zorder=0,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(translate(worded("false alarms per hour")))
    axes.set_ylabel(translate(worded("missed, %%")))
    title = worded("DET curve on held-out voices: “%(phrase)s”", phrase=report["phrase"])
    axes.set_title(translate(title), fontsize=11)
    axes.grid(True, which="both", color="#dddddd", linewidth=0.5)
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=image_format, dpi=130, metadata={"Date": None} if image_format == "svg" else None)
    return buffer.getvalue()


def html_report(report: Report, translate: Translate = str, language: str = "en") -> str:
    """Render the report as one self-contained page.

    Args:
        translate: translates a sentence into the reader's language; English by default.
        language: the language of the page.

    Raises:
        LookupError: the report lacks a value that the page shows.
        ValueError, TypeError: a sentence of the report is invalid.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    pages.globals["_"] = lambda text: translate(worded(text))
    pages.filters |= {
        "translate": translate,
        # Hark's own names: webui.translation lists them.
        "name": lambda key: translate(worded(BUCKET_NAMES.get(key) or key.replace("_", " "))),
        "percent": lambda share: translate(percent(share)),
        "per_hour": lambda rate: translate(per_hour(rate)),
        "share": lambda interval: _with_interval(interval, percent, translate),
        "rate": lambda interval: _with_interval(interval, per_hour, translate),
    }
    try:
        return pages.get_template("report.html").render(_on_the_page(report, translate), language=language)
    except UndefinedError as error:
        raise LookupError(str(error)) from error


def _with_interval(interval: IntervalDict, words: Callable[[float | None], str], translate: Translate) -> str:
    if interval["value"] is None:
        return translate(NOT_MEASURED)
    return "{} ({} – {})".format(*(translate(words(interval[name])) for name in ("value", "low", "high")))


def _on_the_page(report: Report, translate: Translate) -> dict[str, Any]:
    """Compute the values that the template shows in addition to those of the report."""
    summary, results = report["summary"], report["results"]
    predicts = predicts_people(report)
    low, high = (per_hour(summary["fa_per_hour"][name]) for name in ("low", "high"))
    hours, parameters = f"{results['hours']:.1f}", f"{summary['parameters']:,}"
    licences = "; ".join(report["licences"])
    svg = det_plot(report, "svg", translate).decode()
    return {
        "report": report,
        "about": worded(
            "%(run)s · %(created)s · effort %(effort)s · %(parameters)s parameters",
            run=report["run"], created=report["created"], effort=translate(report["effort"]), parameters=parameters,
        ),
        "predicts": predicts,
        "missed": {
            name: roughly(expected_of_people(rate) if predicts else rate)
            for name, rate in (("quiet", summary["miss_rate_clean"]), ("noisy", summary["miss_rate_noisy"]))
        },
        "alarms": worded(
            "false alarms per hour in %(hours)s h (95 %% interval %(low)s to %(high)s)", hours=hours, low=low, high=high
        ),
        "verdict": verdict_of(report),
        "sentences": [worded_again(parts) for parts in report["in_words_parts"]],
        "svg": svg[svg.index("<svg") :],
        "speakers": sorted(results["by_speaker"], key=lambda r: -(r["miss_rate"]["value"] or 0.0))[:WORST_SPEAKERS],
        "licences": worded("Licences of voices and recordings: %(licences)s", licences=licences),
    }  # fmt: skip
