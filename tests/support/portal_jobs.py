"""Jobs as a worker has them: claimed, or with a child process that does what a test says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from webui.jobs import services
from webui.jobs.models import Job

Child = Callable[[str], None]


def claimed(job: Job) -> Job:
    """Claim a waiting job as a worker does, whether or not it was sent to the queue."""
    Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())
    mine = services.claim(job.pk)
    assert mine is not None
    return mine


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Set the child process's source; in it ``say(event, ...)`` sends an event, and ``job`` is the request."""

    def become(source: str) -> None:
        script = tmp_path / "child.py"
        start = "import json, os, signal, sys, time\njob = json.load(sys.stdin)\n"
        say = "def say(event, **fields):\n    print(json.dumps({'event': event, 'time': 1.0, **fields}), flush=True)\n"
        script.write_text(start + say + source)
        monkeypatch.setattr("webui.jobs.supervise.CHILD", (sys.executable, str(script)))

    return become
