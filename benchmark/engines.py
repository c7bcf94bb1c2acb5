"""Clips a second of each speech engine that is ready."""

from __future__ import annotations

from benchmark import BenchOptions, Figures
from benchmark.engine_speed import bench_engines
from core.errors import HarkError
from core.events import Reporter
from pipeline.training.plan import ready_engines


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """See ``benchmark.engine_speed``; figures by engine."""
    if options.engines:
        ready_engines(options.engines, "en")  # says which one is unknown or not ready
    reporter.stage("bench", "Measuring the speech engines (up to 40 s each)")
    figures: Figures = dict(bench_engines(options.engines or None, options.seed))
    if not figures:
        raise HarkError(
            "There is nothing to measure.",
            "None of these engines is used by default and ready.",
            "See ./hark engines list.",
        )
    return figures
