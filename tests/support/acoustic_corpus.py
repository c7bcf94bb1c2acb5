"""A small corpus, and few rooms, for the training of acoustic models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import write_audio
from pipeline.asr import training as acoustic_training


@pytest.fixture(autouse=True)
def few_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one simulated room and one noise of each kind, which take most of the time."""
    for name in ("ROOMS", "CLATTER", "AMBIENT"):
        monkeypatch.setattr(acoustic_training, name, 1)


def corpus(folder: Path, transcripts: bool = True, speakers: int = 12, files: int = 24) -> Path:
    rng = np.random.default_rng(0)
    for number in range(files):
        place = folder / "words" / f"speaker{number % speakers}"
        place.mkdir(parents=True, exist_ok=True)
        write_audio(place / f"{number}.wav", (0.1 * rng.standard_normal(12_000)).astype(np.float32))
        if transcripts:
            (place / f"{number}.txt").write_text("good morning" if number % 2 else "hello")
    return folder / "words"
