"""The report of a run, as plain data. Its sentences are in ``report_words.py``, its page in ``report_page.py``."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from core.errors import HarkError
from core.worded import worded
from db.records import BANK, REAL_ENGINES
from pipeline.training.clips.synthesis import GenerationReport
from pipeline.training.configuration.devices import DEVICES, OWN_FORMAT
from pipeline.training.configuration.efforts import BUCKETS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.evaluation import MeasuredDetector
from pipeline.training.measuring.figures import AgainstPrevious
from pipeline.training.planning.plan import Plan
from pipeline.training.recipes import recipe_of
from pipeline.training.reporting.report_types import (
    ClipCount,
    DetectorSettings,
    DeviceFigures,
    Foundation,
    Report,
    RunFigures,
    TrainingFigures,
)
from pipeline.training.reporting.report_words import (
    compared_in_words,
    device_in_words,
    in_words,
    int8_left_out,
)

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.devices.device_detector import Check
    from model.export import Parity


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
    compared: AgainstPrevious | None = None,
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
    compared: AgainstPrevious | None = None,
) -> RunFigures:
    """Return what a report states about the run and its own detector.

    Args:
        foundation: of :func:`foundation_of`.
        compared: a comparison with the previous version.
    """
    detector, trained, config = measured.detector, measured.trained, plan.config
    training: TrainingFigures = {"steps": 0, "best_step": None, "best_measure": None, "seconds": 0.0, "history": []}
    if trained is not None:
        training = {
            "steps": trained.steps, "best_step": trained.best_step, "best_measure": trained.best_measure,
            "seconds": round(trained.seconds, 1), "history": trained.history,
        }  # fmt: skip
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
        "clips": cast(list[ClipCount], used.to_dict("records")),
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
        "model": cast(DetectorSettings, detector.config.as_dict()),
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


def device_figures(device: str, measured: MeasuredDetector, sizes: Mapping[str, int], check: Check) -> DeviceFigures:
    """Return what the report states about a detector that a run makes in addition to its own.

    Args:
        sizes: bytes of the files that the device loads, by their names in the bundle.
        check: comparison of a file with the detector.
    """
    return {
        "title": DEVICES[device].product or DEVICES[device].title,
        "bytes": dict(sizes),
        **measured.summary(),
        "thresholds": measured.thresholds,
        "utterances": measured.results["utterances"],
        "difference": check.difference,
        "runtime": check.runtime,
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
