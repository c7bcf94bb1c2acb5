"""``./hark bench disk``: jobs of a portal whose disk is full in each of their stages, and has room again a while later.

A real ``serve`` with its workers does them, in a data folder on a small disk of its own (a tmpfs, which root mounts).
The job is then asked to go on, where it did not go on by itself. At the end what it makes is there once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import BenchOptions, Figures
from benchmark.job_makers import MAKERS, Made, data_folders, left_of, library_problems
from benchmark.served import Server
from benchmark.wakeword_summary import aligned
from core.child_process import signal_group
from core.errors import HarkError
from core.events import Reporter

if TYPE_CHECKING:
    from webui.accounts.models import User
    from webui.jobs.models import Job

SIZE_MB = 600  # of the disk
FULL_S = 5.0  # how long it stays full after the job has ended, or without its end:
LONGEST_FULL_S = 20.0
LONGEST_S = 900.0  # of one job
LOOK_EVERY_S = 0.02
REMOVED_S = 1.0  # until what a job no longer needs is gone, after its end
QUEUED = "queued"  # the stage before a worker has a job
BALLAST = "ballast"
KINDS = tuple(MAKERS)


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Rows by kind of job and stage. It must be the first thing in its process that touches Django."""
    with tempfile.TemporaryDirectory(prefix="hark-disk-") as folder, _small_disk(Path(folder)) as data:
        return filled(data, reporter)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise HarkError(
            "This benchmark needs a small disk of its own.",
            f"mount says: {mounted.stderr.strip()}.",
            "Run it as root, in a container that may mount.",
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def filled(data: Path, reporter: Reporter) -> Figures:
    """Have jobs of each kind done on the disk of ``data``, which fills in one of their stages."""
    os.environ["HARK_DATA"] = str(data)
    from webui.setup import ready

    ready()
    from webui.accounts.models import User

    owner = User.objects.create_user("owner", password="a-good-long-password", is_owner=True)
    server = Server(data)
    rows = []
    try:
        server.wait()
        number = 0
        for kind in KINDS:
            reporter.stage("disk", kind)
            undisturbed = MAKERS[kind](owner, number)
            number += 1
            stages = [QUEUED, *_stages(_ended(undisturbed))]
            for done, stage in enumerate(stages):
                reporter.progress(done, len(stages))
                rows.append({"kind": kind, "stage": stage, **_one(kind, stage, owner, number, data)})
                number += 1
                server.look()
        starts = server.starts
    finally:
        server.stop()
    traces = (data / "serve.log").read_text(errors="replace").count("Traceback")
    problems = sum(len(library_problems(path)) for path in data_folders(data))
    return {"rows": rows, "library_problems": problems, "serve_started": starts, "tracebacks": traces}


def _job(made: Made) -> Job:
    from webui.jobs.models import Job

    return Job.objects.select_related("user").get(pk=made.job)


def _ended(made: Made) -> Job:
    """The job when it has ended. Raises HarkError."""
    until = time.monotonic() + LONGEST_S
    while (job := _job(made)).is_going:
        if time.monotonic() > until:
            raise HarkError("A job does not end.", f"{made.kind} is {job.state}.", "See what its log says.")
        time.sleep(0.2)
    return job


def _stages(job: Job) -> list[str]:
    """Their names, in order, each once."""
    names = [event["name"] for event in job.events.order_by("id").values_list("event", flat=True)
             if event["event"] == "stage"]  # fmt: skip
    return list(dict.fromkeys(names))


def _one(kind: str, stage: str, owner: User, number: int, data: Path) -> dict[str, Any]:
    """What became of a job in one of whose stages the disk was full."""
    from webui.jobs import services

    with _ballast(data) as fill:
        made = MAKERS[kind](owner, number)
        if stage == QUEUED:
            fill()
            in_time = True
        else:
            in_time = _filled_in(made, stage, fill)
        until = time.monotonic() + LONGEST_FULL_S
        while time.monotonic() < until and _job(made).is_going:
            time.sleep(0.2)
        time.sleep(FULL_S)
    job = _ended(made)
    said = (job.error or {}).get("what", "")
    asked = 0
    while job.state in (job.State.FAILED, job.State.INTERRUPTED) and asked < 2:
        services.retry(job=job)
        asked += 1
        job = _ended(made)
    time.sleep(REMOVED_S)
    there = made.results() if job.state == job.State.DONE else {}
    return {
        "in_time": in_time, "said": said, "asked_again": asked, "state": job.state,
        "lost": sum(count == 0 for count in there.values()) + (job.state != job.State.DONE),
        "doubled": sum(count > 1 for count in there.values()), "left": left_of(job),
    }  # fmt: skip


def _filled_in(made: Made, stage: str, fill: Callable[[], None]) -> bool:
    """Fill the disk as soon as the job is in a stage, while its processes wait; False where it was over by then."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        job = _job(made)
        if stage in _stages(job):
            if job.process_group is not None:
                signal_group(job.process_group, signal.SIGSTOP)
            fill()
            if job.process_group is not None:
                signal_group(job.process_group, signal.SIGCONT)
            return job.is_going
        if not job.is_going:
            return False
        time.sleep(LOOK_EVERY_S)
    return False


@contextmanager
def _ballast(data: Path) -> Iterator[Callable[[], None]]:
    """Yields what fills the disk; there is room again afterwards."""
    path = data / BALLAST

    def fill() -> None:
        with path.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    try:
        yield fill
    finally:
        path.unlink(missing_ok=True)


def table(figures: Figures) -> str:
    """The figures of :func:`run` for people."""
    rows: list[tuple[str, ...]] = [("job", "full in", "said", "asked again", "ended", "lost", "doubled", "left")]
    for one in figures["rows"]:
        stage = one["stage"] if one["in_time"] else f"{one['stage']} (too late)"
        counts = (str(one[column]) for column in ("lost", "doubled"))
        rows.append((one["kind"], stage, one["said"] or "–", str(one["asked_again"]), one["state"], *counts,
                     ", ".join(one["left"]) or "0"))  # fmt: skip
    told = (
        f"problems of the libraries: {figures['library_problems']}; serve began {figures['serve_started']} times; "
        f"tracebacks in its log: {figures['tracebacks']}"
    )
    return "\n".join([*aligned(rows), told])
