"""Runs a benchmark that must be the first user of Django in its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.data_folder import REPOSITORY


def figures_of(program: str, folder: Path, data: Path | None = None, timeout_s: float = 540) -> Any:
    """Return a program's last output as JSON. It gets a folder, and ``data`` (else that folder) as its data folder."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=timeout_s, env={**os.environ, "HARK_DATA": str(data or folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
