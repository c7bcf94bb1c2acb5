"""``./hark bench workers``: an import of the portal by one, two and four workers, each kept to one core.

Each is what ``./hark worker --lane audio --workers 1`` starts, as on another machine; with more workers than cores,
some share one. The same corpus is imported into a new library each time. What else the machine does counts, too: only
the ratios of one run can be compared.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmark import BenchOptions, Figures
from benchmark.memory import descendants
from benchmark.wakeword_summary import aligned
from core.audio_file import SAMPLE_RATE
from core.child_process import signal_group
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Reporter
from core.processors import crowding, usable_cores

WORKERS = (1, 2, 4)
RECORDINGS, PART = 320, 40  # of the corpus, and of a job
SECONDS = 3.0  # of a recording
CLUSTER = 4  # processes below a worker's that is ready: django-q's sentinel, pusher, monitor and worker
WAITING, HANDED_OUT = 10_000, 50  # parts that wait, and that are taken and ended while the portal's part is measured
LONGEST_S = 3600.0  # of one import
WAIT_S, ENDS_S = 300.0, 20.0  # for a worker to begin, and to end


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Seconds by number of workers. It must be the first thing in its process that touches Django."""
    with tempfile.TemporaryDirectory(prefix="hark-workers-") as folder:
        return imported(Path(folder), options.seed, reporter)


def imported(place: Path, seed: int, reporter: Reporter) -> Figures:
    """Import a corpus that is made in ``place`` by each number of workers.

    Raises:
        HarkError: an import has not ended well.
    """
    most = str(max(WORKERS))
    os.environ.update(
        HARK_DATA=str(place / "data"), HARK_JOBS_RUNNING=most, HARK_JOBS_RUNNING_PER_USER=most,
        HARK_IMPORT_PART=str(PART),
    )  # fmt: skip
    from webui.setup import ready

    ready()
    reporter.stage("workers", "Making a corpus")
    corpus = place / "corpus"
    _make(corpus, seed)
    seconds: dict[int, float] = {}
    core_s: dict[int, float] = {}
    for number in WORKERS:
        reporter.stage("workers", f"Importing by {number} workers")
        before = _core_s()
        with ExitStack() as stack:
            workers = [stack.enter_context(_worker(place / "workers.log", core)) for core in range(number)]
            until = time.monotonic() + WAIT_S
            while any(len(descendants(worker)) < CLUSTER for worker in workers) and time.monotonic() < until:
                time.sleep(0.2)
            seconds[number] = _seconds(corpus, number, reporter)
        core_s[number] = _core_s() - before
    return {
        "recordings": RECORDINGS,
        "jobs": -(-RECORDINGS // PART),
        "cores": usable_cores(),
        "crowding": round(crowding(), 1),
        "seconds": {str(number): round(value, 1) for number, value in seconds.items()},
        "times_as_fast": {str(number): round(seconds[WORKERS[0]] / value, 2) for number, value in seconds.items()},
        "core_seconds": {str(number): round(value, 1) for number, value in core_s.items()},
        "waiting": WAITING,
        "handed_out_ms": round(_handed_out_ms(), 1),
    }


def _core_s() -> float:
    """Of all processes that this one has started and that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _handed_out_ms() -> float:
    """What the portal computes for one part of many that is taken, ended and followed by the next [ms], beside the
    process that does it."""
    from webui.accounts.models import User
    from webui.jobs import services
    from webui.jobs.models import Job

    whole = services.claim(services.submit(user=User.objects.all()[0], kind="import", title="many", spec={}).id)
    assert whole is not None and services.split(whole, [{"count": 1}] * WAITING)
    sent = Job.objects.filter(parent=whole, state=Job.State.QUEUED, sent_at__isnull=False)
    began = time.process_time()
    for _ in range(HANDED_OUT):
        part = services.claim(sent.order_by("created_at")[0].id)
        assert part is not None
        services.finish(part, Job.State.DONE)
    return 1000 * (time.process_time() - began) / HANDED_OUT


def _make(corpus: Path, seed: int) -> None:
    corpus.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(RECORDINGS):
        audio = 0.01 * rng.standard_normal(round(SECONDS * SAMPLE_RATE))
        soundfile.write(corpus / f"{number}.flac", audio, SAMPLE_RATE)
        (corpus / f"{number}.txt").write_text(f"recording number {number}")


@contextmanager
def _worker(log: Path, core: int) -> Iterator[int]:
    """The number of a worker's process for recordings, on a core of its own as far as there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    with log.open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "webui.jobs.cluster"], cwd=REPOSITORY, stdout=said, stderr=said,
            env={**os.environ, "Q_CLUSTER_NAME": "audio", "HARK_WORKERS": "1"}, start_new_session=True,
            preexec_fn=partial(os.sched_setaffinity, 0, {cores[core % len(cores)]}),
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            pass
        signal_group(process.pid)
        process.wait()


def _seconds(corpus: Path, number: int, reporter: Reporter) -> float:
    """How long the import takes from the time that a worker has taken it [s]; listing the corpus is one worker's."""
    from webui.accounts.models import User
    from webui.jobs.models import Job
    from webui.jobs.services import submit

    user = User.objects.create_user(f"user-{number}", password="a-good-long-password")
    spec = {"folder": str(corpus), "language": "en", "licence": "CC0-1.0"}
    job = submit(user=user, kind="import", title="corpus", spec=spec)
    until = time.monotonic() + LONGEST_S
    while job.is_going and time.monotonic() < until:
        time.sleep(0.5)
        job = Job.objects.get(id=job.id)
        reporter.progress(job.snapshot()["done"], RECORDINGS)
    if job.result is None or job.result["added"] != RECORDINGS:
        raise HarkError(
            "The import that was to be measured did not end well.",
            str((job.error or {}).get("why") or f"It is {job.state}: {job.result}"),
            "See whether ./hark serve imports a corpus here.",
        )
    return job.seconds or 0.0


def table(figures: Figures) -> str:
    """The figures of :func:`run` for people."""
    rows = [("workers", "seconds", "times as fast", "seconds of a core")]
    rows += [
        (number, str(value), str(figures["times_as_fast"][number]), str(figures["core_seconds"][number]))
        for number, value in figures["seconds"].items()
    ]
    crowded = f"on {figures['cores']} cores, each with {figures['crowding']} processes to do at the end"
    return "\n".join(
        [
            *aligned(rows),
            f"{figures['recordings']} recordings in {figures['jobs']} jobs {crowded}",
            f"handing out one of {figures['waiting']:,} jobs that wait: {figures['handed_out_ms']} ms",
        ]
    )
