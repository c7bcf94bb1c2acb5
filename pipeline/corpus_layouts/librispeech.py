"""LibriSpeech (openslr.org/12): ``<speaker>/<chapter>/*.trans.txt``, a line "id TEXT", audio beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpus_layouts.utterance import Utterance, audio_named, files_below, read_text

TRANSCRIPT_SUFFIX = ".trans.txt"


def recognizes(folder: Path) -> bool:
    """There is a ``*.trans.txt`` somewhere below."""
    return any(path.name.endswith(TRANSCRIPT_SUFFIX) for path in files_below(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Utterances in order of the transcripts; speakers are "libri-<number>"."""
    for path in files_below(folder):
        if not path.name.endswith(TRANSCRIPT_SUFFIX):
            continue
        for line in read_text(path).splitlines():
            name, _, text = line.strip().partition(" ")
            if name:
                audio = audio_named(path.parent / name) or path.parent / f"{name}.flac"
                yield Utterance(audio, text.strip().lower() or None, speaker=f"libri-{name.split('-')[0]}")
