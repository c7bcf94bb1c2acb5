"""A whole training run in a process and a data folder of its own: seconds by stage, and memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmark import BenchOptions, Figures
from core.child_process import signal_group
from core.data_folder import REPOSITORY, data_folder, storage_error
from core.errors import HarkError
from core.events import Reporter, json_lines_sink
from pipeline.training.config import RunConfig
from pipeline.training.run import prepare, run_training

LOOK_EVERY_S = 0.25  # at the memory of the run's processes
RESULT = "benchmark-result"  # the last event of the process that trains


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Train a phrase from nothing.

    ``peak_rss_mib`` is the largest sum over the run's process and its workers (shared pages count for each, so it is
    an upper bound; None where the system has no /proc); ``peak_rss_main_mib`` is that of the training process alone.
    """
    config = prepare(RunConfig(options.phrase, effort=options.effort, seed=options.seed, engines=options.engines))
    root = data_folder() / "tmp"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir=root))
    except OSError as error:
        raise storage_error(error, "the benchmark") from error
    try:
        return _measure(config, folder, reporter)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(config: RunConfig, folder: Path, reporter: Reporter) -> Figures:
    task = {"phrase": config.phrase, "effort": config.effort, "seed": config.seed, "engines": list(config.engines)}
    command = [sys.executable, "-m", __name__, json.dumps(task), str(folder)]
    started = time.monotonic()
    last: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True
        ) as process,
    ):
        memory = _Memory(process.pid)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                last = json.loads(line)
                _pass_on(last, reporter)
        except BaseException:
            signal_group(process.pid)  # the processes that it started too
            raise
        finally:
            process.wait()
            memory.stop()
        elapsed = time.monotonic() - started
        if last.get("event") == "error":
            raise HarkError(last["what"], last["why"], last["what_to_do"])
        if last.get("event") != RESULT:
            said.seek(0)
            raise RuntimeError(f"the training process ended with code {process.returncode}: {said.read()[-2000:]}")
    result = last["result"]
    return {
        "phrase": config.phrase,
        "effort": config.effort,
        "wall_s": round(elapsed, 1),
        "seconds": result["seconds"],
        "peak_rss_mib": memory.peak_mib,
        "peak_rss_main_mib": last["peak_rss_main_mib"],
        "clips": {bucket: sum(counts.values()) for bucket, counts in result["counts"].items()},
        "metrics": result["metrics"],
    }


def _pass_on(event: dict[str, Any], reporter: Reporter) -> None:
    """Draw what the process says as this one's own events."""
    if event["event"] == "stage":
        reporter.stage(event["name"], event["message"])
    elif event["event"] == "progress":
        reporter.progress(event["done"], event["total"], event["eta_s"])
    elif event["event"] == "metric":
        reporter.metric(event["name"], event["value"])
    elif event["event"] == "log":
        reporter.log(event["message"], event["level"])


class _Memory:
    """Watches the resident memory of a process and all below it, from a thread."""

    def __init__(self, process: int) -> None:
        self.peak_mib: float | None = None
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            kib = resident_kib(self._process)
            if kib:
                self.peak_mib = max(self.peak_mib or 0.0, round(kib / 1024, 1))


def resident_kib(process: int) -> int:
    """Resident memory [KiB] of a process and its descendants, from /proc; 0 where there is none."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended meanwhile
        number = int(status.parent.name)
        parents[number] = int(fields["PPid"])
        sizes[number] = int(fields.get("VmRSS", "0 kB").split()[0])
    total, wanted = 0, [process]
    while wanted:
        parent = wanted.pop()
        total += sizes.get(parent, 0)
        wanted += [number for number, of in parents.items() if of == parent]
    return total


def train_and_tell(task: dict[str, Any], folder: Path) -> None:
    """The process that trains: events as JSON lines on stdout, the result as the last one."""
    import resource

    sink = json_lines_sink(sys.stdout)
    reporter = Reporter(sink)
    config = RunConfig(task["phrase"], effort=task["effort"], seed=task["seed"], engines=tuple(task["engines"]))
    try:
        result = run_training(config, folder, reporter)
    except HarkError as error:
        reporter.error(error)
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    sink({"event": RESULT, "result": result, "peak_rss_main_mib": round(peak, 1)})


if __name__ == "__main__":
    train_and_tell(json.loads(sys.argv[1]), Path(sys.argv[2]))
