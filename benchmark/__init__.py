"""The public wake-word benchmark, which includes other projects' detectors: ``./hark bench wakeword``."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.processors import usable_cores

Figures = dict[str, Any]


def shared_folder() -> Path:
    """Return the folder of real audio. Raises HarkError if it is missing."""
    folder = Path(os.environ.get("HARK_SHARED") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        raise HarkError(
            "The real recordings for this benchmark are missing.",
            f"The folder {folder} does not exist.",
            "Set HARK_SHARED to a folder with keyphrases/<phrase>/*.ogg, speech/ and noise/; "
            "./hark bench wakeword --fetch FOLDER creates one.",
        )
    return folder


def manifest_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a corpus's ``manifest.jsonl``.

    Raises OSError if it cannot be read, and ValueError if a line is not JSON.
    """
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def transcripts(folder: Path) -> dict[str, str]:
    """Return a corpus's ``transcripts.tsv``: texts by the recordings' names without suffix.

    Raises OSError if it cannot be read.
    """
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as lines:
        return {row[0]: row[1] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row}


def commit() -> str:
    """Return the measured commit, with ``-dirty`` if files differ from it; "unknown" outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """Describe the machine on which the figures were measured."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "gpu": _gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "Apple MPS" if sys.platform == "darwin" and torch.backends.mps.is_available() else None
