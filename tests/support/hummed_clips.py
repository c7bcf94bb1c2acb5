"""Hummed clips, and examples of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from model.examples import ExampleSpec, SoundSources
from tests.support.small_crnn import small_crnn

CONFIG = small_crnn(1.2)
SOURCES = SoundSources(rooms=2)
COLUMNS = {
    "split": "train", "label": 1, "bucket": "positive", "engine": "fake", "voice": "", "speaker": "", "clip_id": 1,
    "text": "hey compass",
}  # fmt: skip


def hum(seconds: float, seed: int = 0) -> np.ndarray:
    """A buzz [samples] with sharp ends, 0.4 s of silence on either side."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rng = np.random.default_rng(seed)
    buzz = sum(np.sin(2 * np.pi * k * 140 * time + rng.uniform(0, 6)) / k for k in range(1, 20))
    return np.pad(0.15 * buzz, int(0.4 * SAMPLE_RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips")
    write_audio(path / "phrase.wav", hum(0.8))
    write_audio(path / "long.wav", hum(1.1, 1))
    write_audio(path / "other.wav", hum(2.0, 2))
    write_audio(path / "silence.wav", np.zeros(8000, np.float32))
    return path


def aligned(folder: Path, condition: str = "clean", seed: int = 0, name: str = "phrase", **more: object) -> ExampleSpec:
    clip = str(folder / f"{name}.wav")
    return ExampleSpec((clip,), True, condition, seed, CONFIG.receptive_samples, columns=COLUMNS, **more)  # type: ignore[arg-type]
