"""Programs in a Python process of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from core import environments
from core.data_folder import REPOSITORY

FFMPEG = shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
needs_ffmpeg = pytest.mark.skipif(not FFMPEG, reason="the ffmpeg programs are not installed")

READY = """
from core.errors import HarkError
try:
    from webui.setup import ready
    ready()
    print("ready")
except HarkError as error:
    print(error)
"""


def run_python(program: str, said: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program, which reads ``said``, with these settings in its environment."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env={**os.environ, **settings}, input=said,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@contextmanager
def answering(program: str, **settings: str) -> Iterator[Callable[[Any], Any]]:
    """Run a program that answers each line of JSON with another one; yield the function that asks it."""
    environment = {**os.environ, **settings}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, stdin=PIPE, stdout=PIPE, text=True
    ) as process:

        def ask(value: Any = None) -> Any:
            process.stdin.write(json.dumps(value) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def output_of(program: str) -> str:
    """Run a program that succeeds; return what it prints."""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def prepared(data: Path, **settings: str) -> str:
    """Return the output of ``ready()``, with which every command of the portal begins."""
    done = run_python(READY, HARK_DATA=str(data), **settings)
    return done.stdout + done.stderr


def make_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, engine: str, packages: Path | None = None) -> None:
    """Make, below a folder, an engine's own environment, whose Python is this one; it also finds these packages."""
    monkeypatch.setenv("HARK_ENGINES_ENV", str(folder))
    python = environments.environment(engine) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages or ""}" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (environments.environment(engine) / environments.STAMP).write_text(environments._digest(engine))
