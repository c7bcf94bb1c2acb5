"""``python -m lab portal``: latency of pages with 10,000 clips, 200 jobs, 50 detectors, idle and during training."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import Figures
from core.child_process import signal_group
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Progress, Reporter
from lab import BenchOptions

CLIPS, JOBS, DETECTORS = 10_000, 200, 50
ROUNDS = 40  # number of rounds of all pages on an idle portal
PAUSE_S = 0.2  # seconds between rounds: users pause, and the rounds must cover every stage of a training run
PHRASE = "silver lantern"  # phrase of the training
MAX_DURATION_S = 900.0  # maximum seconds of the training
SHARE = {"value": 0.1, "low": 0.05, "high": 0.2}
SUMMARY = {
    **dict.fromkeys(("miss_rate", "miss_rate_clean", "miss_rate_noisy", "fa_per_hour", "confusables_accepted"), SHARE),
    "effort": "quick",
    "threshold": 0.5,
    "test_hours": 1.0,
    "parameters": 500_000,
}


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return milliseconds (p50, p95) and bytes of each page, compressed as for browsers, without a network.

    This process serves the pages itself. ``asked_elsewhere`` lists the other machines that it contacted meanwhile. It
    sets up Django for its own data folder, so nothing else may have set up Django before.
    """
    elsewhere = _asked_elsewhere()
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        os.environ.update(HARK_DATA=folder, HARK_REQUESTS_PER_MINUTE="0")
        from webui.setup import ready

        ready()
        reporter.stage("bench", "Filling a portal")
        _fill(Path(folder), reporter)
        reporter.stage("bench", "Requesting the pages")
        progress = Progress(reporter, ROUNDS)
        idle = _measure(lambda turn: _counted(progress, turn))
        reporter.stage("bench", "Requesting the pages during a training")
        started = time.monotonic()
        with _training(Path(folder)) as at_work:
            busy = _measure(lambda turn: at_work() and time.monotonic() - started < MAX_DURATION_S)
        ratios = {name: round(busy[name]["p95_ms"] / idle[name]["p95_ms"], 2) for name in idle}
        slowest = max(ratios, key=lambda name: ratios[name])
        return {
            "clips": CLIPS,
            "jobs": JOBS,
            "detectors": DETECTORS,
            "pages": idle,
            "while_training": {name: {**row, "times_idle": ratios[name]} for name, row in busy.items()},
            "training_s": round(time.monotonic() - started, 1),
            "largest_ratio": ratios[slowest],
            "largest_ratio_of": slowest,
            "asked_elsewhere": sorted(elsewhere),
        }


def _asked_elsewhere() -> set[str]:
    """Record the other machines that this process looks up or connects to from now on."""
    hosts: set[str] = set()

    def watch(event: str, values: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = values[0]
        elif event == "socket.connect" and values[0].family != socket.AF_UNIX:
            host = values[1][0]
        else:
            return
        if host and str(host) not in ("localhost", "127.0.0.1", "::1"):
            hosts.add(str(host))

    sys.addaudithook(watch)
    return hosts


def _counted(progress: Progress, turn: int) -> bool:
    if turn:
        progress.advance()
    return turn <= ROUNDS  # the first one is not counted


@contextmanager
def _training(data: Path) -> Iterator[Callable[[], bool]]:
    """Start a training run of the smallest effort as a worker does; yield a function that returns whether it runs.

    Raises:
        HarkError: it did not end successfully.
    """
    from webui.jobs.supervise import CHILD

    spec = {"choices": {"phrase": PHRASE, "language": "en", "effort": "trial"}}
    job = {"kind": "train", "spec": spec, "data": str(data / "users" / "2")}
    log = data / "training.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*CHILD, "bench"], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL, cwd=REPOSITORY,
            start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    try:
        with process.stdin as given:
            given.write(json.dumps(job).encode())
        while process.poll() is None and not log.stat().st_size:
            time.sleep(0.1)  # it is still loading
        yield lambda: process.poll() is None
        if process.returncode not in (None, 0):
            last = json.loads(log.read_text().splitlines()[-1] or "{}")
            raise HarkError(
                "The training during which pages are measured failed.",
                str(last.get("why") or f"It ended with code {process.returncode}."),
                "Fix the cause: ./hark train --effort trial fails in the same way.",
            )
    finally:
        signal_group(process.pid)
        process.wait()


def _fill(data: Path, reporter: Reporter) -> None:
    from django.db import transaction

    from db.db_api import Library
    from pipeline.training.configuration.specification import as_spec
    from webui.accounts.models import User
    from webui.jobs.models import Job, JobEvent
    from webui.trainer.models import Detector, Version
    from webui.trainer.services import configuration

    with Library(data) as library:
        library.add_clips(_clips(reporter))
    owner = User.objects.create_user("owner", is_owner=True)
    with transaction.atomic():
        for number in range(JOBS):
            phrase = f"hey compass {number}"
            spec = as_spec(configuration(phrase=phrase))
            job = Job.objects.create(user=owner, kind="train", queue="training", title=phrase, spec=spec)
            Job.objects.filter(id=job.id).update(state=Job.State.DONE)
            events = [{"event": "log", "time": 1.0, "level": "info", "message": f"line {line}"} for line in range(50)]
            JobEvent.objects.bulk_create(JobEvent(job=job, event=event) for event in events)
            if number < DETECTORS:
                detector = Detector.objects.create(user=owner, phrase=phrase, language="en")
                Version.objects.create(
                    detector=detector, job=job, number=1, folder=f"models/{number}", bundle="x.zip", summary=SUMMARY
                )


def _clips(reporter: Reporter) -> Iterator[Any]:
    from db.records import NewClip

    rng = np.random.default_rng(0)
    audio = [0.1 * rng.standard_normal(8_000).astype(np.float32) for _ in range(20)]
    words = ("compass", "garden", "lantern", "harbour", "anchor", "silver", "morning", "river")
    progress = Progress(reporter, CLIPS)
    for number in range(CLIPS):
        text = " ".join(rng.choice(words, 4))
        yield NewClip(
            audio=audio[number % len(audio)], text=text, text_normalized=text, language="en", engine="espeak",
            voice=f"voice {number % 90}", speaker=f"speaker {number % 90}", request_id=f"run:positive:{number}",
        )  # fmt: skip
        progress.advance()


def _measure(goes_on: Callable[[int], bool]) -> dict[str, Any]:
    """Request all pages, round after round, while ``goes_on(rounds so far)``."""
    from django.test import Client
    from django.urls import reverse

    from webui.accounts.models import User
    from webui.jobs.models import Job

    client = Client(SERVER_NAME="localhost", HTTP_ACCEPT_ENCODING="gzip")
    client.force_login(User.objects.get())
    pages = {"start": "/", "new": "/new", "jobs": "/jobs/", "inbox": "/inbox", "engines": "/engines"}
    pages["job"] = reverse("jobs:detail", args=[Job.objects.order_by("created_at")[0].id])
    pages["library"] = reverse("library:index")
    pages["library search"] = reverse("library:index") + "?q=silver+lantern"
    spent: dict[str, list[float]] = {name: [] for name in pages}
    sizes: dict[str, int] = {}
    turn = 0
    while goes_on(turn):
        for name, address in pages.items():
            started = time.perf_counter()
            answer = client.get(address)
            sizes[name] = len(answer.content)
            assert answer.status_code == 200, (name, answer.status_code)
            if turn:  # the first one loads templates and engines
                spent[name].append(1000 * (time.perf_counter() - started))
        turn += 1
        time.sleep(PAUSE_S)
    return {
        name: {
            "asked": len(times),
            "p50_ms": round(statistics.median(times), 1),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
            "bytes": sizes[name],
        }
        for name, times in spent.items()
    }
