"""Start and end of speech in a clip, found by energy or by silero-vad."""

from __future__ import annotations

from typing import Literal

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.voice_activity import FRAME as VAD_FRAME
from core.voice_activity import speech_probabilities

FRAME = SAMPLE_RATE // 50  # samples (20 ms) per energy frame
HOP = SAMPLE_RATE // 100  # samples (10 ms)
BELOW_PEAK_DB = 35.0  # dB; frames that are quieter than the loudest by more than this are silence
ABOVE_FLOOR_DB = 9.0  # dB; frames that exceed the background by less than this are silence too
FLOOR_PERCENTILE = 10.0
SILENT_DB = -75.0  # dBFS; a clip whose loudest frame is below this has no speech

VAD_THRESHOLD = 0.5

Method = Literal["energy", "silero"]


def speech_bounds(audio: np.ndarray, method: Method = "energy") -> tuple[int, int]:
    """Return the first sample and the end (one past the last sample) of speech in ``audio``; (0, 0) if there is none.

    ``energy`` suits clean clips, such as synthesized ones, and is exact to about 10 ms. ``silero`` distinguishes speech
    from other sounds and is exact to about 50 ms.
    """
    if method == "silero":
        return _bounds(np.flatnonzero(speech_probabilities([audio]) >= VAD_THRESHOLD), VAD_FRAME, VAD_FRAME, len(audio))
    levels = _levels_db(audio)
    if not len(levels) or levels.max() < SILENT_DB:
        return 0, 0
    threshold = levels.max() - BELOW_PEAK_DB
    # A louder background (a noisy recording) raises it, but never so far that loud speech would be cut.
    floor = float(np.percentile(levels, FLOOR_PERCENTILE)) + ABOVE_FLOOR_DB
    threshold = max(threshold, min(floor, levels.max() - 12.0))
    return _bounds(np.flatnonzero(levels >= threshold), HOP, FRAME, len(audio))


def trim_silence(audio: np.ndarray, margin_s: float) -> np.ndarray:
    """Remove the silence before and after the speech, except for a margin; return an empty array without speech."""
    start, end = speech_bounds(audio)
    if start == end:
        return np.zeros(0, dtype=np.float32)
    margin = round(margin_s * SAMPLE_RATE)
    return audio[max(0, start - margin) : end + margin].astype(np.float32)


def _levels_db(audio: np.ndarray) -> np.ndarray:
    """Return levels [dBFS] of 20 ms frames, one per 10 ms. The last one is zero-padded."""
    if not len(audio):
        return np.zeros(0)
    blocks = np.pad(audio.astype(np.float64), (0, -len(audio) % HOP)).reshape(-1, HOP)
    power = np.append(np.square(blocks).sum(axis=1), 0.0)
    return 10.0 * np.log10((power[:-1] + power[1:]) / FRAME + 1e-12)


def _bounds(active: np.ndarray, hop: int, frame: int, samples: int) -> tuple[int, int]:
    if not len(active):
        return 0, 0
    return int(active[0]) * hop, min(int(active[-1]) * hop + frame, samples)
