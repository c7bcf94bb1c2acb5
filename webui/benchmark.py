"""``./hark bench portal``: how long pages take with 10,000 clips, 200 jobs and 50 detectors."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.events import Progress, Reporter

CLIPS, JOBS, DETECTORS = 10_000, 200, 50
ROUNDS = 40  # of all pages
SHARE = {"value": 0.1, "low": 0.05, "high": 0.2}
SUMMARY = {
    **dict.fromkeys(("miss_rate", "miss_rate_clean", "miss_rate_noisy", "fa_per_hour", "confusers_accepted"), SHARE),
    "threshold": 0.5,
    "test_hours": 1.0,
    "parameters": 500_000,
}


def run(reporter: Reporter) -> dict[str, Any]:
    """Milliseconds of each page (p50, p95) and its bytes, answered in this process, without a network between.

    It must be the first thing in its process that touches Django: it has a data folder of its own.
    """
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        os.environ["HARK_DATA"] = folder
        from webui.setup import ready

        ready()
        reporter.stage("bench", "Filling a portal")
        _fill(Path(folder), reporter)
        reporter.stage("bench", "Asking for pages")
        return {"clips": CLIPS, "jobs": JOBS, "detectors": DETECTORS, "pages": _measure(reporter)}


def _fill(data: Path, reporter: Reporter) -> None:
    from django.db import transaction

    from db.db_api import Library
    from webui.accounts.models import User
    from webui.jobs.models import Job, JobEvent
    from webui.trainer.models import Detector, Version
    from webui.trainer.services import as_spec, configuration

    with Library(data) as library:
        library.add_clips(_clips(reporter))
    owner = User.objects.create_user("owner", is_owner=True)
    with transaction.atomic():
        for number in range(JOBS):
            spec = as_spec(configuration(phrase=f"hey compass {number}"))
            job = Job.objects.create(user=owner, kind="train", lane="training", title=spec["phrase"], spec=spec)
            Job.objects.filter(id=job.id).update(state=Job.State.DONE)
            events = [{"event": "log", "time": 1.0, "level": "info", "message": f"line {line}"} for line in range(50)]
            JobEvent.objects.bulk_create(JobEvent(job=job, event=event) for event in events)
            if number < DETECTORS:
                detector = Detector.objects.create(user=owner, phrase=spec["phrase"], language="en")
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


def _measure(reporter: Reporter) -> dict[str, Any]:
    from django.test import Client
    from django.urls import NoReverseMatch, reverse

    from webui.accounts.models import User
    from webui.jobs.models import Job

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get())
    pages = {"start": "/", "new": "/new", "jobs": "/jobs/", "inbox": "/inbox", "engines": "/engines"}
    pages["job"] = reverse("jobs:detail", args=[Job.objects.order_by("created_at")[0].id])
    try:
        pages["library"] = reverse("library:index")
        pages["library search"] = reverse("library:index") + "?q=silver+lantern"
    except NoReverseMatch:
        pass
    spent: dict[str, list[float]] = {name: [] for name in pages}
    sizes: dict[str, int] = {}
    progress = Progress(reporter, ROUNDS * len(pages))
    for turn in range(ROUNDS + 1):
        for name, address in pages.items():
            started = time.perf_counter()
            answer = client.get(address)
            sizes[name] = len(answer.content)
            assert answer.status_code == 200, (name, answer.status_code)
            if turn:  # the first one loads templates and engines
                spent[name].append(1000 * (time.perf_counter() - started))
                progress.advance()
    return {
        name: {
            "p50_ms": round(statistics.median(times), 1),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
            "bytes": sizes[name],
        }
        for name, times in spent.items()
    }
