"""Fitting sound into a fixed length."""

from __future__ import annotations

import numpy as np

from core.audio_file import SAMPLE_RATE

SEAM = SAMPLE_RATE // 100  # samples (10 ms) of crossfade


def repeat_to(audio: np.ndarray, samples: int) -> np.ndarray:
    """Audio of ``samples`` samples: cut, or repeated with short crossfades so that the seams do not click."""
    if len(audio) >= samples:
        return audio[:samples].astype(np.float32)
    if not len(audio):
        return np.zeros(samples, dtype=np.float32)
    fade = min(SEAM, len(audio) // 4)
    period = len(audio) - fade
    # One period in which the tail of the audio fades out under its own beginning; repeating it has no seam.
    loop = audio[:period].astype(np.float32)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        loop[:fade] = audio[:fade] * ramp + audio[period:] * (1.0 - ramp)
    repeated = np.tile(loop, -(-samples // period))[:samples]
    repeated[:fade] = audio[:fade]
    return repeated


def random_segment(audio: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """``samples`` samples full of sound: a random part of longer audio; shorter audio repeated from a random place."""
    if len(audio) > samples:
        start = int(rng.integers(len(audio) - samples + 1))
        return audio[start : start + samples].astype(np.float32)
    return repeat_to(np.roll(audio, -int(rng.integers(max(1, len(audio))))), samples)
