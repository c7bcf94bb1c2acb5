"""VCTK: ``txt/<speaker>/<name>.txt`` and ``wav48*/<speaker>/<name>[_mic1].flac``; only the first microphone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.layouts.utterance import UNREADABLE_TEXT, Utterance, audio_named, is_file_of, text_of


def recognizes(folder: Path) -> bool:
    """Return whether there is a ``txt`` folder and one whose name begins with ``wav``."""
    return (folder / "txt").is_dir() and bool(_audio_folders(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield utterances in order of speaker and name. Speakers are "vctk-<name>"."""
    audio_folders = _audio_folders(folder)
    for speaker in sorted(path for path in (folder / "txt").iterdir() if path.is_dir()):
        for transcript in sorted(path for path in speaker.glob("*.txt") if is_file_of(folder, path)):
            stems = [
                place / speaker.name / f"{transcript.stem}{mic}"
                for place in audio_folders
                for mic in ("_mic1", "", "_mic2")
            ]
            audio = next(
                (path for stem in stems if (path := audio_named(folder, stem)) is not None),
                stems[1].with_suffix(".wav"),
            )
            text = text_of(transcript)
            problem = UNREADABLE_TEXT if text is None else ""
            yield Utterance(audio, (text or "").strip() or None, speaker=f"vctk-{speaker.name}", problem=problem)


def _audio_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("wav*") if path.is_dir())
