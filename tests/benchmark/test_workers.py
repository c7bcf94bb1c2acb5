"""Imports by several workers: a corpus of hardly anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.workers import table
from tests.support.benchmark_program import figures_of

PROGRAM = """
import json, sys
from pathlib import Path
from benchmark import workers
from core.events import silent_reporter
workers.WORKERS, workers.RECORDINGS, workers.PART, workers.SECONDS = (1, 2), 6, 2, 0.5
workers.WAITING, workers.HANDED_OUT = 5, 2
print(json.dumps(workers.imported(Path(sys.argv[1]), 1, silent_reporter())))
"""


@pytest.mark.slow(reason="starts workers")
def test_an_import_by_one_and_by_two_workers(tmp_path: Path) -> None:
    figures = figures_of(PROGRAM, tmp_path, tmp_path / "data")
    assert (figures["recordings"], figures["jobs"], set(figures["seconds"])) == (6, 3, {"1", "2"})
    assert figures["times_as_fast"]["1"] == 1.0 and figures["handed_out_ms"] > 0
    assert "6 recordings in 3 jobs" in table(figures)
