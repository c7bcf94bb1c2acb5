"""LibriSpeech (openslr.org/12): ``<speaker>/<chapter>/*.trans.txt`` with lines "id TEXT", next to the audio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.layouts.utterance import (
    UNREADABLE_TEXT,
    Utterance,
    audio_named,
    files_below,
    is_file_of,
    lines_of,
)

TRANSCRIPT_SUFFIX = ".trans.txt"


def recognizes(folder: Path) -> bool:
    """Return whether there is a ``*.trans.txt`` anywhere below the folder."""
    return any(True for _ in _transcripts(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield utterances in the order of the transcripts. Speakers are "libri-<number>"."""
    for path in _transcripts(folder):
        for line in lines_of(path):
            if line is None:
                yield Utterance(path, None, problem=UNREADABLE_TEXT)
                continue
            name, _, text = line.strip().partition(" ")
            if name:
                audio = audio_named(folder, path.parent / name) or path.parent / f"{name}.flac"
                yield Utterance(audio, text.strip().lower() or None, speaker=f"libri-{name.split('-')[0]}")


def _transcripts(folder: Path) -> Iterator[Path]:
    for path in files_below(folder):
        if path.name.endswith(TRANSCRIPT_SUFFIX) and is_file_of(folder, path):
            yield path
