"""Plain sounds for the tests, and files of them."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from django.core.files.uploadedfile import SimpleUploadedFile

from core.audio_file import SAMPLE_RATE


def tone(seconds: float = 1.0, hertz: float = 440.0, level: float = 0.3, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Return a sine, float32 [samples]."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0, level: float = 0.1, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Return white noise, float32 [samples]."""
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Return audio [samples] with the dynamics of speech: harmonics of a wandering pitch, syllable-like envelope."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    knots = max(4, int(seconds * 5) + 2)
    grid = np.linspace(0, knots - 1, samples)

    def wander(low: float, high: float) -> np.ndarray:
        return np.interp(grid, np.arange(knots), rng.uniform(low, high, knots))

    phase = 2 * np.pi * np.cumsum(wander(90.0, 250.0)) / SAMPLE_RATE
    tone = sum(wander(0.0, 1.0) * np.sin(k * phase) for k in (1, 2, 3, 5, 8, 13))
    noise = rng.standard_normal(samples, dtype=np.float32) * wander(0.0, 0.5)
    return np.asarray(0.08 * wander(0.0, 1.5) * (tone + noise), np.float32)


def wav(audio: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    """Return the WAV file of [samples] or [samples, channels]."""
    written = io.BytesIO()
    soundfile.write(written, audio, rate, format="WAV")
    return written.getvalue()


def upload(audio: np.ndarray, name: str = "a.wav", rate: int = SAMPLE_RATE) -> SimpleUploadedFile:
    """Return that file as a form sends it."""
    return SimpleUploadedFile(name, wav(audio, rate), "audio/wav")


def sound(name: str = "a.wav", channels: int = 1) -> SimpleUploadedFile:
    return upload(np.zeros((SAMPLE_RATE, channels)), name)
