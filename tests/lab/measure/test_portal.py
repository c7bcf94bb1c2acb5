"""The portal's benchmark: pages on an idle portal, and the same pages while a job runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from core.data_folder import REPOSITORY
from tests.support.programs import output_of

# A portal with hardly any data, and a job that reports its beginning and then works for the given time.
PROGRAM = """
import json, sys
from core.events import silent_reporter
from lab import BenchOptions
from lab.measure import portal as benchmark
benchmark.CLIPS, benchmark.JOBS, benchmark.DETECTORS = 30, 3, 2
benchmark.ROUNDS, benchmark.PAUSE_S = 3, 0.01
seconds, code = sys.argv[1:]
said = "{}" if code == "0" else '{"event": "error", "why": "No engine is here."}'
job = f"import sys, time; sys.stdin.read(); print({said!r}, flush=True); time.sleep({seconds}); sys.exit({code})"
fill = benchmark._fill

def fill_and_replace(data, reporter):
    from webui.jobs import supervise
    supervise.CHILD = (sys.executable, "-c", job)
    fill(data, reporter)

benchmark._fill = fill_and_replace
print(json.dumps(benchmark.run(BenchOptions(), silent_reporter())))
"""


def bench(tmp_path: Path, seconds: float, code: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(seconds), str(code)]
    environment = {**os.environ, "HARK_DATA": str(tmp_path)}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)


def test_pages_are_measured_idle_and_while_a_job_is_at_work(tmp_path: Path) -> None:
    done = bench(tmp_path, 3.0, 0)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert set(figures["pages"]) == set(figures["while_training"]) >= {"start", "library", "library search", "job"}
    assert {row["asked"] for row in figures["pages"].values()} == {3}
    for name, row in figures["while_training"].items():
        assert row["asked"] >= 2 and row["times_idle"] == round(row["p95_ms"] / figures["pages"][name]["p95_ms"], 2)
    assert figures["largest_ratio"] == max(row["times_idle"] for row in figures["while_training"].values())
    assert figures["while_training"][figures["largest_ratio_of"]]["times_idle"] == figures["largest_ratio"]
    assert 3.0 <= figures["training_s"] < 60
    assert figures["asked_elsewhere"] == []


def test_requests_to_another_machine_are_reported() -> None:
    program = """
import contextlib, socket
from lab.measure.portal import _asked_elsewhere
found = _asked_elsewhere()
for host in ("127.0.0.1", "192.0.2.7", "name.invalid"):
    with contextlib.suppress(OSError):
        socket.create_connection((host, 9), 0.01)
assert found == {"192.0.2.7", "name.invalid"}, found
"""
    output_of(program)


def test_a_failed_training_is_not_measured(tmp_path: Path) -> None:
    done = bench(tmp_path, 6.0, 2)
    assert done.returncode != 0 and "No engine is here." in done.stderr
