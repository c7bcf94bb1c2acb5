"""A whole training run in a process and a data folder of its own: seconds by stage, and memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark import Figures
from core.child_process import signal_group
from core.data_folder import REPOSITORY, data_folder, storing
from core.errors import HarkError
from core.events import Reporter
from lab import BenchOptions, PeakMemory
from pipeline.training.config import RunConfig
from pipeline.training.run import prepare


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Train a phrase from nothing.

    ``peak_rss_mib`` is the largest sum over the run's process and its workers (None where the system has no /proc).
    """
    config = prepare(RunConfig(options.phrase, effort=options.effort, seed=options.seed, engines=options.engines))
    root = data_folder() / "tmp"
    with storing("the benchmark"):
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir=root))
    try:
        return _measure(config, folder, reporter)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(config: RunConfig, folder: Path, reporter: Reporter) -> Figures:
    """The run as the portal's worker starts it."""
    job = {"kind": "train", "spec": asdict(config), "data": str(folder)}
    started = time.monotonic()
    last: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.jobs", "bench"], cwd=REPOSITORY, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
        ) as process,
        PeakMemory(process.pid) as memory,
    ):  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            with process.stdin as given:
                given.write(json.dumps(job))
            for line in process.stdout:
                last = json.loads(line)
                reporter.repeat(last)
        except BaseException:
            signal_group(process.pid)  # the processes that it started too
            raise
        code = process.wait()
        elapsed = time.monotonic() - started
        if last.get("event") == "error" and code == 2:
            raise HarkError(last["what"], last["why"], last["what_to_do"])
        if last.get("event") != "result":
            said.seek(0)
            raise RuntimeError(f"the training process ended with code {code}: {said.read()[-2000:]}")
    result = last["result"]
    return {
        "phrase": config.phrase,
        "effort": config.effort,
        "wall_s": round(elapsed, 1),
        "seconds": result["seconds"],
        "peak_rss_mib": round(memory.peak_kib / 1024, 1) if memory.peak_kib else None,
        "clips": {bucket: sum(counts.values()) for bucket, counts in result["counts"].items()},
        "metrics": result["metrics"],
    }
