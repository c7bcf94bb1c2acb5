"""What every layout reader gives: one utterance after the other, without reading any audio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".wma", ".webm")
    + (".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".sph")
)


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        audio: its audio file; whether it is there and sound is found out later.
        text: what is said, as the corpus writes it; None where the corpus does not say.
        speaker: who speaks, "" where unknown; the same name means the same person, across corpora too.
        language, licence: where the corpus says them for each utterance.
        offset_s, duration_s: which part of the file it is [seconds]; None: all of it.
    """

    audio: Path
    text: str | None
    speaker: str = ""
    language: str | None = None
    licence: str | None = None
    offset_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class Layout:
    """A layout: its name, whether it recognizes a folder, and its utterances in a fixed order."""

    name: str
    recognizes: Callable[[Path], bool]
    utterances: Callable[[Path], Iterator[Utterance]]


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted within each folder, hidden ones left out; memory grows with one folder only."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place) / name


def is_audio(path: Path) -> bool:
    """Whether the name is that of an audio file."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def audio_named(stem: Path) -> Path | None:
    """The audio file ``stem`` with one of the known suffixes (the stem may have dots in it), or None."""
    for suffix in (".flac", ".wav", ".ogg", ".mp3", ".opus"):
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    if is_audio(stem) and stem.is_file():
        return stem
    return None


def read_text(path: Path) -> str:
    """A text file as UTF-8 without its byte order mark; bytes that are not UTF-8 are replaced."""
    return path.read_text(encoding="utf-8-sig", errors="replace")
