"""What every layout reader gives: one utterance after the other, without reading any audio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".wma", ".webm")
    + (".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".sph")
)
LONGEST_TEXT = 1 << 16  # bytes of a line or of a transcript: what is said in a minute takes a thousandth of it
OUTSIDE = "outside of the corpus"
UNREADABLE_TEXT = "text unreadable or too long"


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        audio: its audio file; whether it is there and sound is found out later.
        text: what is said, as the corpus writes it; None where the corpus does not say.
        speaker: who speaks, "" where unknown; the same name means the same person, across corpora too.
        language, licence: where the corpus says them for each utterance.
        offset_s, duration_s: which part of the file it is [seconds]; None: all of it.
        problem: why it is of no use, "" where nothing is known against it; its audio must not be opened.
    """

    audio: Path
    text: str | None
    speaker: str = ""
    language: str | None = None
    licence: str | None = None
    offset_s: float | None = None
    duration_s: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Layout:
    """A layout: its name, whether it recognizes a folder, and what reads the utterances in a fixed order."""

    name: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Utterance]]

    def utterances(self, folder: Path) -> Iterator[Utterance]:
        """The utterances of a corpus.

        Which files they are is the corpus's word, and a corpus may come from anybody: what it names beyond its own
        folder, by links too, has a problem, and the same whether it is there or not.
        """
        for utterance in self.read(folder):
            inside = utterance.problem or lies_below(folder, utterance.audio)
            yield utterance if inside else replace(utterance, problem=OUTSIDE)


def lies_below(folder: Path, path: Path) -> bool:
    """Whether a path lies below a folder, as it is written and with all links followed; it need not be there.

    As it is written too: what /proc/self/fd/4 leads to is another file a moment later.
    """
    try:
        written, real = Path(os.path.normpath(path.absolute())), folder.resolve()
        below = written.is_relative_to(real) or written.is_relative_to(os.path.normpath(folder.absolute()))
        return below and path.resolve().is_relative_to(real)
    except (OSError, ValueError, RuntimeError):  # too long, a zero in it, a loop of links
        return False


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


def audio_named(folder: Path, stem: Path) -> Path | None:
    """The audio file ``stem`` with one of the known suffixes (the stem may have dots in it) in a corpus, or None."""
    if not stem.name:
        return None
    for suffix in (".flac", ".wav", ".ogg", ".mp3", ".opus"):
        path = stem.with_name(stem.name + suffix)
        if is_file_of(folder, path):
            return path
    if is_audio(stem) and is_file_of(folder, stem):
        return stem
    return None


def is_file_of(folder: Path, path: Path) -> bool:
    """Whether a path names a file of the corpus: one that is there and, links followed, lies below its folder."""
    try:
        return lies_below(folder, path) and path.is_file()
    except OSError:  # its name is too long, or a folder on the way may not be entered
        return False


def text_of(path: Path) -> str | None:
    """A transcript as UTF-8 without its byte order mark (what is no UTF-8 is replaced); None where it is too long."""
    with path.open("rb") as file:
        text = file.read(LONGEST_TEXT + 1)
    return None if len(text) > LONGEST_TEXT else text.decode("utf-8-sig", "replace")


def lines_of(path: Path) -> Iterator[str | None]:
    """The lines of a table as :func:`text_of` gives a text, without their ends; None for one that is too long."""
    with path.open("rb") as file:
        encoding = "utf-8-sig"
        while line := file.readline(LONGEST_TEXT + 1):
            short = line.endswith(b"\n") or len(line) <= LONGEST_TEXT
            yield line.decode(encoding, "replace").rstrip("\r\n") if short else None
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_TEXT)
            encoding = "utf-8"
