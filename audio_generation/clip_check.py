"""Checks that an engine's clip is audible, is not noise, and has a plausible duration for its text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

FRAME_S = 0.05
# RMS of the loudest frame: -50 dBFS, 22 dB below the quietest of 850 measured voices (espeak's +Hugo).
SILENT_RMS = 0.003
CLIPPED_FRACTION = 0.1  # fraction of samples at full scale; highest of 850 voices: 0.001
# Maximum spectral flatness; white noise: above 0.9, highest of 850 voices: 0.5 (espeak's +klatt: "six").
FLAT_SPECTRUM = 0.7
MIN_S_PER_LETTER = 0.012  # minimum seconds per character; a shorter clip is truncated
MAX_DURATION_S = 4.0  # maximum seconds of an empty text; each character adds MAX_S_PER_LETTER
MAX_S_PER_LETTER = 0.4  # high, because numbers and abbreviations have few characters but take long to speak


@dataclass(frozen=True)
class ClipFacts:
    """The duration and rate of a clip, and the ``problem`` for which it is rejected, or ""."""

    duration_s: float
    sample_rate: int
    problem: str = ""


def check_clip(path: Path, text: str) -> ClipFacts:
    """Read a file that an engine wrote, and check it against the requested text."""
    try:
        audio, sample_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return ClipFacts(0.0, 0, f"the engine wrote no readable audio file ({error})")
    duration_s = len(audio) / sample_rate
    return ClipFacts(duration_s, sample_rate, _problem(audio.mean(axis=1), sample_rate, duration_s, text))


def _problem(audio: np.ndarray, sample_rate: int, duration_s: float, text: str) -> str:
    """Return the first problem of ``audio`` (float [samples]), or an empty string."""
    letters = sum(character.isalnum() for character in text)
    if not len(audio):
        return "the engine wrote an empty file"
    if not np.isfinite(audio).all():
        return "the audio has values that are not numbers"
    if duration_s < max(FRAME_S, MIN_S_PER_LETTER * letters):
        return f"the audio is too short for the text ({duration_s:.2f} s)"
    if duration_s > MAX_DURATION_S + MAX_S_PER_LETTER * len(text):
        return f"the audio is too long for the text ({duration_s:.1f} s)"
    if float(np.mean(np.abs(audio) >= 0.999)) > CLIPPED_FRACTION:
        return "too many samples of the audio are clipped"
    audio = audio - audio.mean()
    frame = int(FRAME_S * sample_rate)
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    if float(np.sqrt((frames**2).mean(axis=1)).max()) < SILENT_RMS:
        return "the audio is silent"
    if spectral_flatness(frames) > FLAT_SPECTRUM:
        return "the audio is noise, not speech"
    return ""


def spectral_flatness(frames: np.ndarray) -> float:
    """Return geometric over arithmetic mean of the mean power of ``frames`` [frames, samples]; 1 for white noise."""
    power = (np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2).mean(axis=0)[2:] + 1e-12
    # Smoothed over 8 bins, so that a few frames of noise are as flat as many.
    power = power[: len(power) // 8 * 8].reshape(-1, 8).mean(axis=1)
    return float(np.exp(np.log(power).mean()) / power.mean())
