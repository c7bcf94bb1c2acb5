"""Read speech and its transcripts, by people on whom no shipped weights were trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark import manifest_rows, transcripts

UTTERANCES = 200


def dev_clean(speech: Path) -> list[tuple[Path, str]]:
    """Draw :data:`UTTERANCES` of librispeech-dev-clean, always the same, so that figures are comparable."""
    folder = speech / "librispeech-dev-clean"
    rows = manifest_rows(folder)
    chosen = sorted(np.random.default_rng(0).permutation(len(rows))[:UTTERANCES].tolist())
    return [(folder / rows[index]["audio_filepath"], rows[index]["text"]) for index in chosen]


def other_people(speech: Path) -> list[tuple[Path, str]]:
    """List librispeech-test-other, whose speakers are harder to recognize."""
    folder = speech / "librispeech-test-other"
    files = {path.stem: path for path in folder.rglob("*") if path.suffix in (".ogg", ".flac", ".wav")}
    return [(files[name], text) for name, text in transcripts(folder).items() if name in files]
