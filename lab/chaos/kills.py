"""``python -m lab kills``: 200 jobs of a portal, whose processes are killed at random until all jobs have ended.

A real ``serve`` runs the jobs, with its workers and its own data folder. SIGKILL hits a job's process, the worker that
supervises it, a waiting worker, the web server, or ``serve`` itself, which is then restarted. Some jobs are cancelled.
At the end each job must be done or cancelled, and each result of a done job must exist exactly once.

With ``--servers``, the portal's rows and libraries are in the database of ``DATABASE_URL``, and its queue is in the
Redis of ``REDIS_URL``.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import Figures
from benchmark.wakeword_summary import aligned
from core.errors import HarkError
from core.events import Reporter
from lab import BenchOptions
from lab.chaos.job_makers import MAKERS, Submission, data_folders, left_of, library_problems
from lab.chaos.served import Server
from tests.support.processes import (
    command_of,
    descendants,
    kill_process,
    orphans_become_children,
    parent_of,
    web_server,
)

if TYPE_CHECKING:
    from webui.jobs.models import Job

JOBS = 200
SHARES = {"import": 6, "transcribe": 5, "minable": 3, "summarize": 3, "train": 3}
KILLS = {"job": 5, "worker": 4, "waiting worker": 3, "web": 2, "serve": 1, "cancel": 1}  # approximate frequencies
PAUSE_S = (1.0, 5.0)  # seconds between two kills
JOBS_A_KILL = 2  # jobs that must end before the next kill
LEASE_S = 6
MAX_DURATION_S = 3600.0
WAIT_S = 60.0  # seconds for processes to end


@dataclass
class Count:
    """Counts of outcomes for one kind of job; ``wrong`` lists lost and duplicated results, and leftover files."""

    jobs: int = 0
    done: int = 0
    cancelled: int = 0
    failed: int = 0
    retried: int = 0
    lost: int = 0
    doubled: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return the outcomes by kind of job, and the number of kills.

    It sets up Django for its own data folder, so nothing else may have set up Django in this process.
    """
    with tempfile.TemporaryDirectory(prefix="hark-kills-") as folder:
        return killed(Path(folder), options.seed, JOBS, reporter)


def killed(data: Path, seed: int, jobs: int, reporter: Reporter) -> Figures:
    """Run about ``jobs`` jobs in a new data folder, with kills.

    Raises:
        HarkError: the jobs did not end within an hour, or the database has accounts.
    """
    most = str(10 * jobs)
    os.environ.update(HARK_DATA=str(data), HARK_JOBS_WAITING=most)
    from webui.setup import ready

    ready()
    from webui.accounts.models import User

    if User.objects.exists():
        raise HarkError(
            "The benchmark did not start: the database is in use.",
            "It has accounts, and the benchmark would add its jobs to theirs.",
            "Set DATABASE_URL to an empty database.",
        )
    rng = random.Random(seed)
    reporter.stage("kills", "Queueing jobs")
    submissions = list(_submitted(jobs, seed))
    killed: Counter[str] = Counter()
    started = time.monotonic()
    with orphans_become_children():
        server = Server(data, HARK_JOBS_LEASE_S=str(LEASE_S))
        try:
            reporter.stage("kills", "Killing their processes")
            retried = _kill_until_all_have_ended(server, submissions, rng, killed, reporter)
        finally:
            server.stop()
        _wait_for_ends()
        counts = _counts(submissions, retried)
        left = len(descendants(os.getpid()))
    return {
        "kinds": {kind: vars(count) for kind, count in counts.items()},
        "kills": dict(killed),
        "library_problems": [problem for path in data_folders(data) for problem in library_problems(path)],
        "processes_left": left,
        "seconds": round(time.monotonic() - started, 1),
    }


def _submitted(jobs: int, seed: int) -> Iterator[Submission]:
    from webui.accounts.models import User

    owner = User.objects.create_user("owner", password="a-good-long-password", is_owner=True)
    other = User.objects.create_user("other", password="a-good-long-password")
    kinds = [kind for kind, share in SHARES.items() for _ in range(max(1, jobs * share // sum(SHARES.values())))]
    random.Random(seed).shuffle(kinds)
    for number, kind in enumerate(kinds):
        yield MAKERS[kind]((owner, other)[number % 2], number)


def _kill_until_all_have_ended(
    server: Server, submissions: list[Submission], rng: random.Random, killed: Counter[str], reporter: Reporter
) -> Counter[str]:
    """Kill until all jobs have ended; return how often each job was retried, as users do with interrupted ones."""
    from webui.jobs import services
    from webui.jobs.models import Job

    retried: Counter[str] = Counter()
    began = next_kill = time.monotonic()
    while True:
        server.look()
        active_jobs = list(Job.objects.filter(state__in=Job.GOING))
        interrupted = list(Job.objects.filter(state=Job.State.INTERRUPTED))
        reporter.progress(len(submissions) - len(active_jobs), len(submissions))
        if not active_jobs and not interrupted:
            return retried
        for job in interrupted:  # Hark does not retry a job whose process was killed twice
            services.retry(job=job)
            retried[str(job.id)] += 1
        ended = len(submissions) - len(active_jobs) - len(interrupted)
        # Otherwise a slow machine would only restart killed processes, and never finish a job.
        if time.monotonic() >= next_kill and killed.total() <= ended // JOBS_A_KILL:
            next_kill = time.monotonic() + rng.uniform(*PAUSE_S)
            how = rng.choices(list(KILLS), list(KILLS.values()))[0]
            killed[how] += _kill(how, server, [job for job in active_jobs if job.process_group is not None], rng)
        if time.monotonic() - began > MAX_DURATION_S:
            raise HarkError(
                f"The jobs did not end within {MAX_DURATION_S / 60:g} minutes.",
                f"{len(active_jobs)} are still queued or running.",
                "Read their logs; on a slow machine, run the benchmark again when it is idle.",
            )
        time.sleep(0.3)


def _kill(how: str, server: Server, at_work: list[Job], rng: random.Random) -> int:
    """Kill a process or cancel a job; return 1, or 0 if there is none of that kind.

    Args:
        how: one of the kinds in :data:`KILLS`.
        at_work: the jobs that have a process.
    """
    from webui.jobs import services

    if how == "serve":
        server.kill()
        return 1
    if how in ("waiting worker", "web"):
        candidates = web_server(server.process.pid) if how == "web" else without_a_child(server.process.pid)
        return kill_process(rng.choice(candidates)) if candidates else 0
    if not at_work:
        return 0
    job = rng.choice(at_work)
    if how == "cancel":
        services.cancel(job=job)
        return 1
    assert job.process_group is not None
    return kill_process(job.process_group) if how == "job" else kill_supervisor(job.process_group)


def kill_supervisor(pid: int) -> int:
    """Kill the worker that supervises a job's process; return 1, or 0 if that worker has already ended."""
    parent = parent_of(pid)
    return kill_process(parent) if b"webui.jobs.cluster" in command_of(parent) else 0


def without_a_child(server: int) -> list[int]:
    """Return the workers' processes below ``serve`` that supervise nothing: waiting workers, pusher, monitor."""
    below = descendants(server)
    having = {parent_of(pid) for pid in below}
    return [pid for pid in below if pid not in having and b"webui.jobs.cluster" in command_of(pid)]


def _wait_for_ends() -> None:
    """Wait for workers whose ``serve`` was killed; they end automatically after a lease's time."""
    until = time.monotonic() + WAIT_S
    while descendants(os.getpid()) and time.monotonic() < until:
        time.sleep(0.5)


def _counts(submissions: list[Submission], retried: Counter[str]) -> dict[str, Count]:
    from webui.jobs.models import Job

    counts = {kind: Count() for kind in SHARES}
    for submission in submissions:
        count = counts[submission.kind]
        count.jobs += 1
        count.retried += retried[submission.job]
        job = Job.objects.select_related("user").get(pk=submission.job)
        count.done += job.state == Job.State.DONE
        count.cancelled += job.state == Job.State.CANCELLED
        count.failed += job.state == Job.State.FAILED
        if job.state not in (Job.State.DONE, Job.State.CANCELLED, Job.State.FAILED):
            count.lost += 1
            count.wrong.append(f"{job.title} is {job.state}")
            continue
        if job.state == Job.State.FAILED:
            count.lost += 1
            count.wrong.append(f"{job.title}: {json.dumps(job.error)}")
        results = submission.results()
        lost = [name for name, number in results.items() if number == 0] if job.state == Job.State.DONE else []
        doubled = [name for name, number in results.items() if number > 1]
        left = left_of(job)
        count.lost, count.doubled, count.left = (
            count.lost + len(lost), count.doubled + len(doubled), count.left + len(left)
        )  # fmt: skip
        for what, names in (("lost", lost), ("doubled", doubled), ("left", left)):
            if names:
                count.wrong.append(f"{job.title}, {job.state}, {what}: {', '.join(names)}")
    return counts


def table(figures: Figures) -> str:
    """Format the figures of :func:`run`, and the failures."""
    columns = ("jobs", "done", "cancelled", "failed", "retried", "lost", "doubled", "left")
    rows: list[tuple[str, ...]] = [("", *columns)]
    kinds = figures["kinds"]
    rows += [(kind, *(str(counts[column]) for column in columns)) for kind, counts in kinds.items()]
    rows.append(("all", *(str(sum(counts[column] for counts in kinds.values())) for column in columns)))
    kills = ", ".join(f"{how} {count}" for how, count in figures["kills"].items())
    summary = [
        f"killed: {kills}", f"problems of the libraries: {len(figures['library_problems'])}",
        *figures["library_problems"],
        f"processes left: {figures['processes_left']}", f"seconds: {figures['seconds']}",
    ]  # fmt: skip
    return "\n".join([*aligned(rows), *summary, *(wrong for counts in kinds.values() for wrong in counts["wrong"])])
