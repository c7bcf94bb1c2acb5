"""Jobs whose child process does what a test says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Child = Callable[[str], None]


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
