"""What a transcript and its summary were before each of the last changes, so that changes can be taken back.

A folder in the recording's folder for each, named by the version that it holds; the newest is what the last change
replaced. Its files are links to the former ones: who writes a transcript replaces the file, so they need no room.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.errors import HarkError
from core.worded import worded
from pipeline.recordings.recording_folder import SUMMARY, TRANSCRIPT
from pipeline.recordings.transcript import Transcript, load_transcript

FOLDER = "history"
MOST = 50  # changes that can be taken back


def remember(folder: Path, version: int) -> Path:
    """Keep what is there as a version, in a folder of its own, whose path is returned. Raises OSError."""
    kept = folder / FOLDER / f"{version:08d}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for name in (TRANSCRIPT, SUMMARY):
        if (folder / name).is_file():
            (kept / name).hardlink_to(folder / name)
    for old in _kept(folder)[:-MOST]:
        forget(old)
    return kept


def newest(folder: Path) -> Path | None:
    """Where what was before the last change is kept; None where there is nothing to take back."""
    return next(reversed(_kept(folder)), None)


def read(kept: Path) -> tuple[Transcript, dict[str, Any] | None]:
    """The transcript and the summary of a folder of :func:`remember`. Raises HarkError where they are damaged."""
    try:
        summary = json.loads((kept / SUMMARY).read_text(encoding="utf-8")) if (kept / SUMMARY).is_file() else None
        return load_transcript(kept / TRANSCRIPT), summary
    except (HarkError, OSError, ValueError) as error:
        raise HarkError(
            worded("The change cannot be taken back."),
            worded("What was there before cannot be read."),
            worded("Correct the passage by hand."),
        ) from error


def forget(kept: Path) -> None:
    """Take back no more to what a folder of :func:`remember` keeps."""
    shutil.rmtree(kept, ignore_errors=True)


def forget_all(folder: Path) -> None:
    """Nothing can be taken back any more: the transcript is a new one."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _kept(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob("[0-9]*"))
