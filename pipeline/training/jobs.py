"""The jobs of a detector: "plan", "train", "retrain" and "compare"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.events import Reporter
from pipeline.engine_setup import install_voices, voices_to_install
from pipeline.training.configuration.specification import JOB, Spec, run_config
from pipeline.training.detectors.retraining import retraining_of
from pipeline.training.measuring.comparison import compare_versions
from pipeline.training.measuring.figures import Comparison
from pipeline.training.planning.preview import plan_run, plan_summary
from pipeline.training.recipes.prepared import prepare
from pipeline.training.reporting.report_types import RunResult
from pipeline.training.run import run_training

SAMPLES = 6  # number of each bucket that a plan offers for playback


def plan_job(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "plan": return the plan's summary, texts to play, and the voices to install [MB]."""
    config = prepare(run_config(spec))
    plan = plan_run(config, data, reporter)
    samples: dict[str, list[dict[str, Any]]] = {}
    for request in plan.requests:
        of_bucket = samples.setdefault(request.bucket, [])
        if len(of_bucket) < SAMPLES and request.engine not in {sample["engine"] for sample in of_bucket[-2:]}:
            of_bucket.append({"engine": request.engine, "voice": request.voice, "text": request.text})
    return {**plan_summary(plan, data), "samples": samples, "to_install_mb": voices_to_install(config)}


def train_job(spec: Spec, data: Path, reporter: Reporter) -> RunResult:
    """Run the job "train", which may install neural voices first."""
    config = prepare(run_config(spec))
    if spec.get("install_voices"):
        install_voices(voices_to_install(config), reporter)
    return run_training(config, data, reporter, made_for=spec.get(JOB, ""))


def retrain_job(spec: Spec, data: Path, reporter: Reporter) -> RunResult:
    """Run the job "retrain": make the next version of the detector of a finished ``run``."""
    return run_training(retraining_of(data, spec["run"]), data, reporter, made_for=spec.get(JOB, ""))


def compare_job(spec: Spec, data: Path, reporter: Reporter) -> Comparison:
    """Run the job "compare": score the versions that ``runs`` have made."""
    return compare_versions(spec["runs"], data, reporter)
