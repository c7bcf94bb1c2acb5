"""Filters for frequency responses of cheap microphones, loudspeakers and distance; zero-phase, to keep positions."""

from __future__ import annotations

import numpy as np
from scipy import fft

from core.audio_file import SAMPLE_RATE

PADDING = 1024  # samples (64 ms) of zeros, for the filter's ringing
# Responses are drawn in dB on this grid and interpolated to the bins of a clip's spectrum.
GRID_HZ = np.concatenate([[0.0], np.geomspace(20.0, SAMPLE_RATE / 2, 255)])
GRID_OCTAVES = np.log2(np.maximum(GRID_HZ, 10.0))
FLOOR_DB = -90.0


def apply_response(audio: np.ndarray, response_db: np.ndarray) -> np.ndarray:
    """Filter ``audio`` by a magnitude response given in dB on ``GRID_HZ`` [256]; zero phase, same length.

    The result may exceed 1 where the response amplifies.
    """
    if not len(audio):
        return audio.astype(np.float32)
    length = fft.next_fast_len(len(audio) + PADDING, real=True)
    spectrum = fft.rfft(audio.astype(np.float32), length)
    spectrum *= response_at(response_db, len(spectrum))
    return fft.irfft(spectrum, length)[: len(audio)]


def response_at(response_db: np.ndarray, bins: int) -> np.ndarray:
    """Interpolate a response; return amplitudes [bins], float32, at equally spaced frequencies from 0 to 8 kHz."""
    amplitudes = 10 ** (np.maximum(response_db, FLOOR_DB) / 20)
    return np.interp(np.linspace(0.0, SAMPLE_RATE / 2, bins), GRID_HZ, amplitudes).astype(np.float32)


def low_pass_response(cutoff_hz: float, order: float) -> np.ndarray:
    """Return a Butterworth low-pass in dB on the grid: -3 dB at the cutoff, then 6 dB per octave times ``order``."""
    return -10.0 * np.log10(1.0 + (GRID_HZ / cutoff_hz) ** (2.0 * order))


def high_pass_response(cutoff_hz: float, order: float) -> np.ndarray:
    """Return a Butterworth high-pass in dB on the grid: -3 dB at the cutoff, 6 dB per octave times ``order`` below."""
    return -10.0 * np.log10(1.0 + (cutoff_hz / np.maximum(GRID_HZ, 1.0)) ** (2.0 * order))


def random_bands_response(rng: np.random.Generator, max_db: float = 8.0, bands: int = 8) -> np.ndarray:
    """Draw ``bands`` gains within +-``max_db``, about an octave apart (80 Hz to 8 kHz), joined smoothly."""
    centres = np.linspace(np.log2(80.0), np.log2(8000.0), bands)
    gains = np.clip(rng.normal(0.0, max_db / 2, bands), -max_db, max_db)
    return np.interp(GRID_OCTAVES, centres, gains)


def tilt_response(db_per_octave: float) -> np.ndarray:
    """Return a straight slope through 0 dB at 1 kHz, flat below 60 Hz."""
    return db_per_octave * (np.maximum(GRID_OCTAVES, np.log2(60.0)) - np.log2(1000.0))


def random_microphone_response(rng: np.random.Generator) -> np.ndarray:
    """Draw the response of a cheap microphone: little bass, little treble, one to three resonances of up to 8 dB."""
    response = high_pass_response(float(np.exp(rng.uniform(np.log(40.0), np.log(400.0)))), rng.uniform(1.0, 4.0))
    response = response + low_pass_response(
        float(np.exp(rng.uniform(np.log(3000.0), np.log(8000.0)))), rng.uniform(1, 5)
    )
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform(np.log2(200.0), np.log2(7000.0))
        width = rng.uniform(0.15, 0.7)  # width in octaves
        response = response + rng.uniform(-8.0, 8.0) * np.exp(-0.5 * ((GRID_OCTAVES - centre) / width) ** 2)
    return response


def random_equalizer(
    audio: np.ndarray, rng: np.random.Generator, max_db: float = 8.0, tilt_db: float = 2.0, microphone: bool = False
) -> np.ndarray:
    """Apply random band gains (+-``max_db``) and tilt (+-``tilt_db`` per octave), and a cheap microphone if requested.

    The result may exceed 1; later steps of a chain set the level.
    """
    response = random_bands_response(rng, max_db) + tilt_response(rng.uniform(-tilt_db, tilt_db))
    if microphone:
        response = response + random_microphone_response(rng)
    return apply_response(audio, response)
