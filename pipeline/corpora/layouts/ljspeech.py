"""LJSpeech (and Piper's data sets): ``metadata.csv`` with "id|text|text with numbers as words", audio in ``wavs/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.layouts.utterance import UNREADABLE_TEXT, Utterance, audio_named, is_file_of, lines_of

METADATA = "metadata.csv"
AUDIO_FOLDERS = ("wavs", "wav", "audio", ".")


def recognizes(folder: Path) -> bool:
    """Return whether there is a ``metadata.csv`` with bars in its first line."""
    path = folder / METADATA
    if not is_file_of(folder, path):
        return False
    return "|" in (next(lines_of(path), None) or "")


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield utterances in the order of the metadata. The only speaker is named after the folder."""
    for line in lines_of(folder / METADATA):
        if line is None:
            yield Utterance(folder / METADATA, None, problem=UNREADABLE_TEXT)
            continue
        name, *texts = (part.strip() for part in line.split("|"))
        if not name:
            continue
        found = (audio_named(folder, folder / place / name) for place in AUDIO_FOLDERS)
        audio = next((path for path in found if path is not None), folder / "wavs" / f"{name}.wav")
        yield Utterance(audio, next((text for text in reversed(texts) if text), None), speaker=folder.name.lower())
