"""Programs in a Python process of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
