"""A folder of audio; ``name.txt`` (or .lab, .normalized.txt) next to ``name.wav`` is its transcript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.layouts.utterance import UNREADABLE_TEXT, Utterance, files_below, is_audio, is_file_of, text_of

# ".normalized.txt" is from LibriTTS.
TRANSCRIPT_SUFFIXES = (".txt", ".normalized.txt", ".lab")


def has_audio(folder: Path) -> bool:
    """Return whether there is an audio file anywhere below the folder."""
    return any(is_audio(path) for path in files_below(folder))


def has_transcripts(folder: Path) -> bool:
    """Return whether there is an audio file with a transcript anywhere below the folder."""
    return any(is_audio(path) and _transcript(folder, path) is not None for path in files_below(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield all audio in order of path, with its transcript if there is one; a subfolder counts as one speaker."""
    for path in files_below(folder):
        if not is_audio(path):
            continue
        place = path.parent.relative_to(folder).as_posix()
        transcript = _transcript(folder, path)
        text = text_of(transcript) if transcript is not None else ""
        speaker = "" if place == "." else f"{folder.name}/{place}"
        problem = UNREADABLE_TEXT if text is None else ""
        yield Utterance(path, " ".join((text or "").split()) or None, speaker=speaker, problem=problem)


def _transcript(folder: Path, audio: Path) -> Path | None:
    candidates = (audio.with_name(audio.stem + suffix) for suffix in TRANSCRIPT_SUFFIXES)
    return next((path for path in candidates if is_file_of(folder, path)), None)
