"""Undo history of a transcript and its summary.

The recording's folder has a subfolder for each version that was changed, named by its number. It holds hard links to
the old files, which cost no extra space when they are made. They still have the old content after a change, because a
new transcript replaces the file instead of overwriting it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.errors import HarkError
from core.worded import worded
from pipeline.recordings.files.recording_folder import SUMMARY, TRANSCRIPT
from pipeline.recordings.transcripts.transcript import Transcript, load_transcript

FOLDER = "history"
MAX_CHANGES = 50  # number of changes that can be undone


def remember(folder: Path, version: int) -> Path:
    """Store the current files as a version, and return its folder. Raises OSError if that fails."""
    store = folder / FOLDER / f"{version:08d}"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    for name in (TRANSCRIPT, SUMMARY):
        if (folder / name).is_file():
            (store / name).hardlink_to(folder / name)
    for old in _version_folders(folder)[:-MAX_CHANGES]:
        forget(old)
    return store


def newest(folder: Path) -> Path | None:
    """Return the folder of the version before the last change; None if nothing can be undone."""
    return next(reversed(_version_folders(folder)), None)


def read(folder: Path) -> tuple[Transcript, dict[str, Any] | None]:
    """Return the transcript and the summary in a folder of :func:`remember`. Raises HarkError if they are damaged."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8")) if (folder / SUMMARY).is_file() else None
        return load_transcript(folder / TRANSCRIPT), summary
    except (HarkError, OSError, ValueError) as error:
        raise HarkError(
            worded("The change cannot be undone."),
            worded("The earlier text cannot be read."),
            worded("Correct the passage by hand."),
        ) from error


def forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def forget_all(folder: Path) -> None:
    """Remove the history, because a new transcript has none."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _version_folders(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob("[0-9]*"))
