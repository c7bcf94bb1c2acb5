"""Effects on level and duration: gain, overload, speed (changes the pitch) and tempo (preserves the pitch)."""

from __future__ import annotations

import numpy as np
import soxr

from core.audio_file import SAMPLE_RATE

LEVEL_FRAME = SAMPLE_RATE // 50  # samples (20 ms) over which a level is measured
ACTIVE_RANGE_DB = 30.0  # dB; frames that are quieter than the loudest by more than this count as pauses
SILENCE_DB = -120.0  # dBFS; quieter audio is silence, because scaling it up would overflow
SILENCE = 10 ** (SILENCE_DB / 20)

WSOLA_HOP = SAMPLE_RATE // 40  # samples (25 ms) between frames of change_tempo; frames are twice as long
WSOLA_SEARCH = SAMPLE_RATE // 100  # samples (10 ms) that a frame may move to fit the previous one


def rms(audio: np.ndarray) -> float:
    """Return the root mean square of the whole audio; 0 for empty audio."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def active_rms(audio: np.ndarray) -> float:
    """Return the root mean square over the frames that are not pauses (within 30 dB of the loudest 20 ms frame).

    For a steady sound it is the ordinary RMS; for speech or a bark it does not depend on the surrounding silence.
    """
    whole = len(audio) // LEVEL_FRAME * LEVEL_FRAME
    if not whole:
        return rms(audio)
    frames = audio[:whole].reshape(-1, LEVEL_FRAME)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / LEVEL_FRAME
    active = power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)]
    return float(np.sqrt(active.mean()))


def to_db(amplitude: float) -> float:
    """Return 20 log10 of an amplitude, at least -120 dB."""
    return 20.0 * float(np.log10(max(amplitude, SILENCE)))


def limit_peak(audio: np.ndarray) -> np.ndarray:
    """Scale the audio down if its peak is above 1. No sample is clipped."""
    peak = float(np.max(np.abs(audio))) if len(audio) else 0.0
    # The division can round to just above 1; clipping the last bit is inaudible.
    return np.clip(audio / np.float32(peak), -1.0, 1.0) if peak > 1.0 else audio


def apply_gain(audio: np.ndarray, gain_db: float) -> np.ndarray:
    """Make audio ``gain_db`` louder; less if the peak would exceed 1."""
    return limit_peak(audio.astype(np.float32) * np.float32(10 ** (gain_db / 20)))


def set_level(audio: np.ndarray, level_db: float) -> np.ndarray:
    """Scale audio to an active level of ``level_db`` dBFS; less if the peak would exceed 1. Silence stays silence."""
    level = active_rms(audio)
    return apply_gain(audio, level_db - to_db(level)) if level > SILENCE else audio.astype(np.float32)


def overload(audio: np.ndarray, drive_db: float) -> np.ndarray:
    """Simulate an overdriven microphone: the peak is driven ``drive_db`` above full scale into a soft limit (tanh).

    The result's peak is at most 1, whatever the input's level.
    """
    peak = float(np.max(np.abs(audio))) if len(audio) else 0.0
    if peak <= SILENCE:
        return audio.astype(np.float32)
    return np.tanh(audio.astype(np.float32) * np.float32(10 ** (drive_db / 20) / peak))


def change_speed(audio: np.ndarray, factor: float) -> np.ndarray:
    """Play audio ``factor`` times as fast: returns round(samples / factor) samples; changes pitch and formants."""
    if factor <= 0:
        raise ValueError(f"speed factor {factor} is not above 0")
    samples = round(len(audio) / factor)
    if factor == 1.0 or not samples:
        return audio[:samples].astype(np.float32)
    faster = soxr.resample(audio.astype(np.float32), SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    faster = limit_peak(np.asarray(faster, dtype=np.float32))
    return np.pad(faster[:samples], (0, max(0, samples - len(faster))))


def change_tempo(audio: np.ndarray, factor: float) -> np.ndarray:
    """Speed speech up ``factor`` times at the same pitch; returns round(samples / factor) samples.

    WSOLA (Verhelst and Roelands, ICASSP 1993): overlapping 50 ms frames, each taken from within 10 ms of its nominal
    position, where it fits the previous frame best. A sound at time t is therefore within 10 ms of t / factor.
    """
    if factor <= 0:
        raise ValueError(f"tempo factor {factor} is not above 0")
    samples = round(len(audio) / factor)
    hop, search = WSOLA_HOP, WSOLA_SEARCH
    if factor == 1.0 or not samples or len(audio) < 2 * hop:
        return audio[:samples].astype(np.float32) if factor >= 1.0 else change_speed(audio, factor)
    window = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)).astype(np.float32)  # sums to 1 at this hop
    frames = -(-samples // hop) + 1
    # Frame k is centred at k * hop of the output, so the source is padded by half a frame plus the search range.
    lead = hop + search
    source = np.pad(audio.astype(np.float32), (lead, 4 * hop + 2 * search + int(2 * hop * factor)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(source, dtype=np.float64))])
    out = np.zeros((frames + 1) * hop, dtype=np.float32)
    position = search
    for k in range(frames):
        expected = round(k * hop * factor) + search
        if k:
            wanted = source[position + hop : position + 2 * hop]  # the natural continuation of the previous frame
            region = source[expected - search : expected + search + hop]
            likeness = np.correlate(region, wanted, mode="valid")
            starts = np.arange(expected - search, expected + search + 1)
            loudness = np.sqrt(np.maximum(energy[starts + hop] - energy[starts], 0.0)) + 1e-6
            position = expected - search + int(np.argmax(likeness / loudness)) if wanted.any() else expected
        else:
            position = expected
        out[k * hop : (k + 2) * hop] += source[position : position + 2 * hop] * window
    return limit_peak(out[hop : hop + samples])


def change_voice(audio: np.ndarray, factor: float) -> np.ndarray:
    """Shift pitch and formants by ``factor`` at the same length, which approximates another person's voice."""
    moved = change_speed(change_tempo(audio, 1.0 / factor), factor)
    return np.pad(moved[: len(audio)], (0, max(0, len(audio) - len(moved))))
