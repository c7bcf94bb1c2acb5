"""Clips a second of each speech engine that is ready."""

from __future__ import annotations

from audio_generation.bench_engines import bench_engines
from core.errors import HarkError
from pipeline.benchmark import BenchOptions, Figures
from pipeline.events import Reporter
from pipeline.plan import ready_engines


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """See ``audio_generation.bench_engines``; figures by engine."""
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
