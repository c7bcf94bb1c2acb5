"""The report of a run, as plain data, as a page and as a DET plot.

Its sentences are in ``report_words.py``. Its page is the template ``report.html``.
"""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.errors import HarkError
from core.worded import NOT_MEASURED, percent, worded, worded_again
from db.records import BANK, REAL_ENGINES
from model.metrics import IntervalDict
from pipeline.training.clips.synthesis import GenerationReport
from pipeline.training.configuration.devices import DEVICES, OWN_FORMAT
from pipeline.training.configuration.efforts import BUCKETS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.evaluation import MeasuredDetector
from pipeline.training.planning.plan import Plan
from pipeline.training.recipes import recipe_of
from pipeline.training.reporting.report_types import DeviceFigures, Foundation, Report, RunFigures
from pipeline.training.reporting.report_words import (
    compared_in_words,
    device_in_words,
    in_words,
    int8_left_out,
    per_hour,
    roughly,
)
from pipeline.training.reporting.verdict import expected_of_people, predicts_people, verdict_of

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.export import Parity

Translate = Callable[[str], str]  # translates a sentence into the reader's language

WORST_SPEAKERS = 15  # number in the page; report.json has all
NAMES = {"inbetween": "partial phrase"}  # names in the page that differ from their keys


@dataclass(frozen=True)
class Reported:
    """A detector in Hark's format, the plan it was made from, and the figures that its report states."""

    plan: Plan
    measured: MeasuredDetector
    figures: RunFigures


def reported(
    plan: Plan,
    measured: MeasuredDetector,
    clips: pd.DataFrame,
    generated: GenerationReport,
    compared: dict[str, Any] | None = None,
) -> Reported:
    """Return a detector with its figures; ``compared`` is a comparison with the previous version."""
    foundation = foundation_of(plan.config, measured.detector)
    return Reported(plan, measured, run_figures(plan, clips, measured, generated, foundation, compared))


def run_figures(
    plan: Plan,
    clips: pd.DataFrame,
    measured: MeasuredDetector,
    generated: GenerationReport,
    foundation: Foundation,
    compared: dict[str, Any] | None = None,
) -> RunFigures:
    """Return what a report states about the run and its own detector.

    Args:
        foundation: of :func:`foundation_of`.
        compared: a comparison with the previous version.
    """
    detector, trained, config = measured.detector, measured.trained, plan.config
    training: dict[str, Any] = {"steps": 0, "best_step": None, "best_measure": None, "seconds": 0.0, "history": []}
    if trained is not None:
        training = {name: getattr(trained, name) for name in training} | {"seconds": round(trained.seconds, 1)}
    used = clips.groupby(["bucket", "engine", "split"]).size().reset_index(name="clips")
    figures: RunFigures = {
        "phrase": config.phrase,
        "language": config.language,
        "effort": config.effort,
        "seed": config.seed,
        "run": plan.run,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "device": trained.device if trained is not None else "cpu",
        },
        "summary": {"effort": config.effort, **measured.summary()},
        "counts": {bucket: _origins(clips[clips["bucket"] == bucket]) for bucket in BUCKETS},
        "clips": used.to_dict("records"),
        "hours": {split: _hours(measured, split) for split in ("train", "validation", "test")},
        "shipped_hours": {split: _shipped_hours(measured.store, detector, split) for split in ("validation", "test")},
        "engines": plan.engines,
        "engines_missing": plan.engines_missing,
        "held_out_engine": plan.held_out or None,
        "generation_failures": generated.failed,
        "unknown_transcripts": int((clips[clips["bucket"] == "plain_negative"]["text"] == "").sum()),
        "licences": sorted(set(clips["licence"])),
        "training": training,
        "size": config.size,
        "detector": detector.title,
        "model": detector.config.as_dict(),
        "thresholds": measured.thresholds,
        "results": measured.results,
    }
    return cast(RunFigures, {**figures, **foundation, **({"compared": compared} if compared is not None else {})})


def foundation_of(config: RunConfig, detector: Detector) -> Foundation:
    """Return the shipped weights and speech that the run built on, for the report."""
    from model.devices.micro_network import shipped_micro_network
    from pipeline.training.negatives.negative_speech import about_negative_speech

    foundation = cast(Foundation, detector.foundation())
    if negatives := recipe_of(config).negatives().about():
        foundation["negative_set"] = negatives
    if config.devices:
        foundation["negative_speech"] = about_negative_speech()
    if "esphome" in config.devices:
        foundation["micro_network"] = shipped_micro_network()[1]
    return foundation


def device_figures(device: str, measured: MeasuredDetector, sizes: Mapping[str, int], off: float) -> DeviceFigures:
    """Return what the report states about a detector that a run makes in addition to its own.

    Args:
        sizes: bytes of the files that the device loads, by their names in the bundle.
        off: the largest difference in score between a file and the detector.
    """
    return {
        "title": DEVICES[device].product or DEVICES[device].title,
        "bytes": dict(sizes),
        **measured.summary(),
        "thresholds": measured.thresholds,
        "utterances": measured.results["utterances"],
        "difference": off,
        "taught": measured.store.soft_logits is not None if device in OWN_FORMAT else None,
    }


def whole_report(
    figures: RunFigures,
    devices: Mapping[str, DeviceFigures],
    left_out: Mapping[str, HarkError],
    parity: Parity,
    models: Mapping[str, bytes],
) -> Report:
    """Return the report of a run, as JSON values.

    Args:
        figures: figures of the run's own detector (:func:`run_figures`).
        devices: figures of the detectors for devices.
        left_out: the reasons why other devices have none.
        models: the detector's forms, by their names in the bundle.
    """
    sentences = [
        *in_words(figures),
        *(compared_in_words(figures["compared"]) if "compared" in figures else ()),
        *(worded("%(what)s %(why)s %(what_to_do)s", **error.as_dict()) for error in left_out.values()),
        *filter(None, [int8_left_out(parity)]),
        *map(device_in_words, devices.values()),
    ]
    return {
        **figures,
        "devices": dict(devices),
        "devices_left_out": list(left_out),
        "parity": parity.as_dict(),
        "bytes": {name: len(content) for name, content in models.items()},
        "in_words": list(sentences),  # for programs
        "in_words_parts": [sentence.parts() for sentence in sentences],  # for pages, in the reader's language
    }


def _origins(clips: pd.DataFrame) -> dict[str, int]:
    real = int(clips["engine"].isin(REAL_ENGINES).sum())
    reused = int(clips["reused"].sum()) - real
    return {"reused": reused, "mined": real, "generated": len(clips) - reused - real}


def _hours(measured: MeasuredDetector, split: str) -> dict[str, float]:
    """Return the hours of a split's streams, by condition."""
    step, rows = measured.detector.config.stored.step, measured.store.where(split=split).groupby("condition")
    return {str(condition): round(float(group["frames"].sum()) * step / 360_000, 3) for condition, group in rows}


def _shipped_hours(store: FeatureStore, detector: Detector, split: str) -> float:
    """Return the hours of shipped real speech among a split's streams, counting one condition only."""
    rows = store.where(split=split)
    rows = rows[rows["engine"].str.startswith(BANK)]
    frames = rows.groupby("condition")["frames"].sum().max() if len(rows) else 0
    return round(float(frames) * detector.config.stored.step / 360_000, 2)


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
        "name": lambda key: translate(worded(NAMES.get(key) or key.replace("_", " "))),
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
