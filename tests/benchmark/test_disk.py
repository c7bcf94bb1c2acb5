"""A portal whose disk fills up while it works: one kind of job."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.disk import table
from tests.support.benchmark_program import figures_of

PROGRAM = """
import json, sys
from pathlib import Path
from benchmark import disk
from core.events import silent_reporter
disk.KINDS = ("minable",)
print(json.dumps(disk.filled(Path(sys.argv[1]), silent_reporter())))
"""


@pytest.mark.slow(reason="starts a portal")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("small_disk", [100], indirect=True)
def test_jobs_that_meet_a_full_disk_lose_nothing(small_disk: Path) -> None:
    figures = figures_of(PROGRAM, small_disk, timeout_s=840)
    said = table(figures)
    assert [one["stage"] for one in figures["rows"]] == ["queued", "library"], said
    assert all(one["state"] == "done" and not one["lost"] + one["doubled"] for one in figures["rows"]), said
    assert figures["rows"][0]["in_time"], said
    assert all(one["left"] == [] for one in figures["rows"]) and figures["library_problems"] == 0, said
    assert figures["serve_started"] == 1, said
