"""A portal whose disk fills up while it works: one kind of job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.disk import table
from core.data_folder import REPOSITORY

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
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(small_disk)], cwd=REPOSITORY, capture_output=True, text=True, timeout=840,
        env={**os.environ, "HARK_DATA": str(small_disk)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    said = table(figures)
    assert [one["stage"] for one in figures["rows"]] == ["queued", "library"], said
    assert all(one["state"] == "done" and not one["lost"] + one["doubled"] for one in figures["rows"]), said
    assert figures["rows"][0]["in_time"], said
    assert all(one["left"] == [] for one in figures["rows"]) and figures["library_problems"] == 0, said
    assert figures["serve_started"] == 1, said
