"""The output of all layout readers: utterances one by one, without reading any audio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".wma", ".webm")
    + (".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".sph")
)
MAX_TEXT_LENGTH = 1 << 16  # bytes of a line or of a transcript; a minute of speech needs a thousandth of this
OUTSIDE = "outside of the corpus"
UNREADABLE_TEXT = "text unreadable or too long"


@dataclass(frozen=True)
class Utterance:
    """An utterance of a corpus.

    Attributes:
        audio: the file, which may not exist or not be audio; this is checked later.
        text: the transcript as in the corpus; None if there is none.
        speaker: the speaker, "" if unknown; the same name means the same person, across corpora too.
        language, licence: set if the corpus gives them for each utterance.
        offset_s, duration_s: the part of the file [seconds]; None for all of it.
        problem: why the utterance is unusable; its audio must then not be opened. "" if no problem is known yet.
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
    """The name of a layout, a test that recognizes its folders, and a reader of utterances in a fixed order."""

    name: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Utterance]]

    def utterances(self, folder: Path) -> Iterator[Utterance]:
        """Yield the utterances of a corpus, marking audio outside its folder as a problem.

        A corpus may be untrusted, so files that it names outside its own folder, including through links, have a
        problem, whether or not they exist.
        """
        for utterance in self.read(folder):
            inside = utterance.problem or lies_below(folder, utterance.audio)
            yield utterance if inside else replace(utterance, problem=OUTSIDE)


def lies_below(folder: Path, path: Path) -> bool:
    """Return whether a path, which need not exist, is below a folder both as written and with all links followed.

    The written path must be below it too, because /proc/self/fd/4 may lead to another file later.
    """
    try:
        written, real = Path(os.path.normpath(path.absolute())), folder.resolve()
        below = written.is_relative_to(real) or written.is_relative_to(os.path.normpath(folder.absolute()))
        return below and path.resolve().is_relative_to(real)
    except (OSError, ValueError, RuntimeError):  # the path is too long, contains NUL, or is a loop of links
        return False


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all visible files below a folder, sorted within each folder; memory holds one folder at a time."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place) / name


def is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def audio_named(folder: Path, stem: Path) -> Path | None:
    """Return the corpus's audio file ``stem`` (which may have dots) with any known suffix, or None."""
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
    """Return whether a path is an existing file that, with links followed, is below the corpus's folder."""
    try:
        return lies_below(folder, path) and path.is_file()
    except OSError:  # its name is too long, or a parent folder is not accessible
        return False


def text_of(path: Path) -> str | None:
    """Read a transcript as UTF-8 without its byte order mark, replacing invalid bytes; None if it is too long."""
    with path.open("rb") as file:
        text = file.read(MAX_TEXT_LENGTH + 1)
    return None if len(text) > MAX_TEXT_LENGTH else text.decode("utf-8-sig", "replace")


def lines_of(path: Path) -> Iterator[str | None]:
    """Yield the lines of a table, decoded as by :func:`text_of`, without their ends; None for an overlong line."""
    with path.open("rb") as file:
        encoding = "utf-8-sig"
        while line := file.readline(MAX_TEXT_LENGTH + 1):
            short = line.endswith(b"\n") or len(line) <= MAX_TEXT_LENGTH
            yield line.decode(encoding, "replace").rstrip("\r\n") if short else None
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_TEXT_LENGTH)
            encoding = "utf-8"
