"""Cutting pieces out of audio, and fitting audio into windows of a fixed length."""

from __future__ import annotations

import numpy as np

from core.audio_file import SAMPLE_RATE


def crop(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """The ``samples`` samples from ``start`` on (may be negative or beyond the end); zeros where there is no audio."""
    if samples < 0:
        raise ValueError(f"a crop cannot have {samples} samples")
    window = np.zeros(samples, dtype=np.float32)
    first, last = max(start, 0), min(start + samples, len(audio))
    if first < last:
        window[first - start : last - start] = audio[first:last]
    return window


def random_crop(audio: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """``samples`` samples from a random place; shorter audio is put whole at a random place among zeros."""
    slack = len(audio) - samples
    return crop(audio, int(rng.integers(min(slack, 0), max(slack, 0) + 1)), samples)


def crop_to_end(audio: np.ndarray, end: int, samples: int) -> np.ndarray:
    """The window of ``samples`` samples that ends at sample ``end``."""
    return crop(audio, end - samples, samples)


def crop_around_end(
    audio: np.ndarray,
    phrase_end: int,
    samples: int,
    rng: np.random.Generator,
    after_s: tuple[float, float] = (0.0, 0.2),
) -> tuple[np.ndarray, int]:
    """A window in which the phrase ends a random 0 to 200 ms (``after_s``) before the window does.

    Args:
        phrase_end: sample at which the phrase ends in ``audio``.

    Returns:
        The window [samples] and the sample of the phrase's end in it (negative if ``samples`` is too small for it).
    """
    after = round(rng.uniform(*after_s) * SAMPLE_RATE)
    return crop_to_end(audio, phrase_end + after, samples), samples - after


def repeat_to(audio: np.ndarray, samples: int, fade_s: float = 0.01) -> np.ndarray:
    """Audio of ``samples`` samples: cut, or repeated with short crossfades so that the seams do not click."""
    if len(audio) >= samples:
        return audio[:samples].astype(np.float32)
    if not len(audio):
        return np.zeros(samples, dtype=np.float32)
    fade = min(round(fade_s * SAMPLE_RATE), len(audio) // 4)
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
