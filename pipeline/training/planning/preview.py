"""The plan of a run as users see it before they start or continue it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from core.events import Reporter
from core.worded import worded
from db.db_api import Library
from model.dataset import store_is_complete
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.estimate import estimated_s
from pipeline.training.planning.plan import Plan, load_plan, make_plan, remaining, run_texts
from pipeline.training.recipes import recipe_of
from pipeline.training.workspace.run_folder import RunFolder


def plan_run(config: RunConfig, data: Path, reporter: Reporter) -> Plan:
    """Plan the run that :func:`pipeline.training.run.run_training` would start or continue, without making clips.

    Nothing is mined either, so the run may have to synthesize fewer clips than the plan states.
    """
    run = RunFolder.of(data, config)
    reporter.stage("plan", worded("Planning “%(phrase)s”", phrase=config.phrase))
    with Library(data) as library:
        return load_plan(run.plan) or make_plan(config, run_texts(config, library), run.name, library)


def plan_summary(plan: Plan, data: Path) -> dict[str, Any]:
    """Return a plan of :func:`plan_run` for users and programs.

    ``unfinished`` is None, or for a stopped run the number of clips ``planned`` and ``spoken`` and the next stage,
    ``goes_on_with`` ("synthesize", "features", "calibrate" or "train"); all other numbers then cover the rest only.
    """
    run = RunFolder(data, plan.run)
    if not run.plan.is_file():
        return {**plan.summary(), "unfinished": None}
    needs_features = not store_is_complete(run.features)
    with Library(data) as library:
        left = _what_is_left(plan, library, needs_features)
    planned = len(plan.requests)
    at_devices = run.devices.is_dir()  # these are trained even if the run's own detector is not
    last = "train" if recipe_of(plan.config).trains or at_devices else "calibrate"
    goes_on_with = "synthesize" if left.requests else "features" if needs_features else last
    unfinished = {"planned": planned, "spoken": planned - len(left.requests), "goes_on_with": goes_on_with}
    return {**left.summary(), "unfinished": unfinished}


def _what_is_left(plan: Plan, library: Library, needs_features: bool) -> Plan:
    """Return the remaining plan of a stopped run. The clips that it has synthesized count as reused."""
    left = remaining(plan.requests, library)
    rows = []
    for row in plan.buckets:
        engines = [request.engine for request in left if request.bucket == row.bucket]
        by_engine = {engine: engines.count(engine) for engine in sorted(set(engines))}
        reused = row.reused + row.generate - len(engines)
        rows.append(replace(row, reused=reused, generate=len(engines), by_engine=by_engine))
    estimate = sum(estimated_s(plan.config, plan.clips, plan.requests, left, needs_features).values())
    return replace(plan, buckets=tuple(rows), requests=tuple(left), estimate_s=estimate)
