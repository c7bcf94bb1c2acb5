"""What a transcript and its summary were before each of the last changes, so that changes can be taken back.

A file in the recording's folder for each, named by the version that it holds; the newest is what the last change
replaced.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path
from core.errors import HarkError
from core.worded import worded
from pipeline.recordings.transcript import Transcript, as_json, from_json

FOLDER = "history"
MOST = 50  # changes that can be taken back


def remember(folder: Path, version: int, transcript: Transcript, summary: Mapping[str, Any] | None) -> Path:
    """Keep what a version held, in a file of its own, whose path is returned. Raises OSError."""
    path = folder / FOLDER / f"{version:08d}.json"
    with atomic_path(path) as temporary:
        held = {"transcript": as_json(transcript), "summary": summary}
        temporary.write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")
    for old in _kept(folder)[:-MOST]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path) -> Path | None:
    """The file of what was before the last change; None where there is nothing to take back."""
    return next(reversed(_kept(folder)), None)


def read(path: Path) -> tuple[Transcript, dict[str, Any] | None]:
    """The transcript and the summary of a file of :func:`remember`. Raises HarkError where it is damaged."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return from_json(held["transcript"]), held["summary"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkError(
            worded("The change cannot be taken back."),
            worded("What was there before cannot be read."),
            worded("Correct the passage by hand."),
        ) from error


def forget(folder: Path) -> None:
    """Nothing can be taken back any more: the transcript is a new one."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _kept(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob("[0-9]*.json"))
