"""Speech with known word times: words spoken one by one, trimmed and joined."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import GeneratedClip, SpeechRequest
from audio_generation.espeak_side.espeak import Espeak
from core.audio_file import SAMPLE_RATE, read_audio


@cache
def by_espeak(text: str, rate: int = 140) -> np.ndarray:
    """Return audio [samples] of a text spoken by espeak; skip the test without it."""
    engine = Espeak()
    if not engine.available().ok:
        pytest.skip(engine.available().why)
    voice = next(v.name for v in engine.voices("en") if v.language == "en-us" and "+" not in v.name)
    try:
        with tempfile.TemporaryDirectory() as folder:
            (clip,) = engine.synthesize([SpeechRequest("x", text, voice, "en", {"rate": rate})], Path(folder))
            assert isinstance(clip, GeneratedClip), clip
            return read_audio(clip.path)
    finally:
        engine.close()


def say(text: str) -> np.ndarray:
    """Return audio [samples] of a text without the silence around it."""
    audio = by_espeak(text)
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    return audio[loud[0] : loud[-1] + 1]


def joined(words: Sequence[str], gap_s: float = 0.06) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return audio [samples] of words with short gaps between and half a second around, and their times [seconds]."""
    pieces = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    times = []
    at = len(pieces[0])
    for word in words:
        audio = say(word)
        times.append((at / SAMPLE_RATE, (at + len(audio)) / SAMPLE_RATE))
        pieces += [audio, np.zeros(int(gap_s * SAMPLE_RATE), np.float32)]
        at += len(audio) + len(pieces[-1])
    pieces.append(np.zeros(SAMPLE_RATE // 2, np.float32))
    noise = np.random.default_rng(0).standard_normal(at + SAMPLE_RATE // 2) * 3e-4
    return (np.concatenate(pieces) + noise).astype(np.float32), times
