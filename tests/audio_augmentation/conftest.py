from __future__ import annotations

import numpy as np
import pytest

from audio_augmentation.reverb import room_pool
from core.audio_file import SAMPLE_RATE


def speech_like(seconds: float, rng: np.random.Generator, pitch_hz: float = 120.0) -> np.ndarray:
    """Harmonics of a gliding pitch under two formants, in syllables of 4 Hz, with a little noise."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)))) / SAMPLE_RATE
    voice = np.zeros(len(t))
    for harmonic in range(1, 30):
        hz = harmonic * pitch_hz
        weight = np.exp(-(((hz - 600) / 300) ** 2)) + 0.5 * np.exp(-(((hz - 1800) / 500) ** 2)) + 0.02
        voice += weight * np.sin(harmonic * phase)
    voice *= np.clip(np.sin(2 * np.pi * 2 * t + rng.uniform(0, 6)), 0.0, 1.0)
    voice += 0.01 * rng.standard_normal(len(t))
    return (0.4 * voice / max(1e-9, np.abs(voice).max(initial=0.0))).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1234)


@pytest.fixture
def speech(rng: np.random.Generator) -> np.ndarray:
    return speech_like(2.0, rng)


@pytest.fixture
def click() -> np.ndarray:
    """Two seconds of silence with a 4 ms burst at 1 s, whose later position shows the delay."""
    audio = np.zeros(2 * SAMPLE_RATE, dtype=np.float32)
    audio[SAMPLE_RATE : SAMPLE_RATE + 64] = (
        0.5 * np.hanning(64) * np.sin(2 * np.pi * 1000 * np.arange(64) / SAMPLE_RATE)
    )
    return audio


@pytest.fixture(scope="session")
def rooms() -> list[np.ndarray]:
    return room_pool(12, seed=7)
