"""Hark's only definition of log-mel: training reads it here, export rebuilds it inside the ONNX graph.

Frames cover 25 ms and begin every 10 ms; nothing is padded, so frame ``t`` covers exactly the samples ``[160 t, 160 t +
400)`` and streaming needs no look-ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SAMPLE_RATE = 16_000  # Hz
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FRAME_STRIDE = 2  # log-mel frames per output frame of backbones, encoder and recognizer: 20 ms
CHUNK_FRAMES = 8  # log-mel frames per score: 80 ms
CHUNK_SAMPLES = CHUNK_FRAMES * HOP
FFT = 512  # points
MELS = 40
F_MIN = 60.0  # Hz
F_MAX = 7_600.0  # Hz
POWER_FLOOR = 1e-6  # added to mel power: about the power of noise at -84 dBFS; digital silence becomes log(1e-6)
BLOCK_FRAMES = 4096  # frames computed at a time
LOG_MEL_MEAN = -4.0  # normalizes a model's input: speech at -25 dBFS is within about [-2, 2]
LOG_MEL_SCALE = 4.0


@dataclass(frozen=True)
class StoredFrames:
    """Layout of a detector's frames in the feature store: log-mel, or outputs of a pretrained backbone."""

    width: int  # values per frame
    step: int  # log-mel frames per stored frame
    window: int  # stored frames that one logit depends on
    chunk: int  # stored frames per score
    lead: int  # log-mel frames that the first stored frame depends on
    at_once: int = 1  # stored frames that are computed together

    def scores(self, frames: int) -> int:
        """Return the number of scores for this many stored frames."""
        return max(0, (frames - self.window) // self.chunk + 1)

    def position(self, frame: int) -> int:
        """Return the number of stored frames that end before log-mel frame ``frame`` of a segment."""
        return ((frame - self.lead) // (self.step * self.at_once) + 1) * self.at_once


def lead_in(audio: np.ndarray, receptive_samples: int) -> np.ndarray:
    """Prepend silence to a recording [samples], so that its first 80 ms complete a window of ``receptive_samples``."""
    return np.concatenate([np.zeros(receptive_samples - CHUNK_SAMPLES, np.float32), np.asarray(audio, np.float32)])


def hz_to_mel(frequency: np.ndarray | float) -> np.ndarray:
    """Convert Hz to mel with O'Shaughnessy's formula, as in HTK: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency, dtype=np.float64) / 700.0)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=1)
def mel_filterbank() -> np.ndarray:
    """Return triangular filters [FFT // 2 + 1, MELS] float32, evenly spaced in mel, with peak 1 (as in HTK)."""
    edges = mel_to_hz(np.linspace(hz_to_mel(F_MIN), hz_to_mel(F_MAX), MELS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


@lru_cache(maxsize=1)
def hann_window() -> np.ndarray:
    """Return the periodic Hann window [WINDOW] float32, equal to ``torch.hann_window(400)``."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def frame_count(samples: int) -> int:
    return 0 if samples < WINDOW else (samples - WINDOW) // HOP + 1


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Return log-mel energies [frames, MELS] float32 of mono audio [samples] in [-1, 1] at 16 kHz.

    This is the natural logarithm of power plus :data:`POWER_FLOOR`. Audio shorter than one window has no frames. Only
    the result needs memory in proportion to the audio.
    """
    import scipy.fft  # takes longer to load than a portal's other imports

    audio = np.ascontiguousarray(audio, dtype=np.float32)
    total = frame_count(len(audio))
    result = np.empty((total, MELS), dtype=np.float32)
    if total == 0:
        return result
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    for start in range(0, total, BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(frames[start : start + BLOCK_FRAMES] * hann_window(), n=FFT, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        np.log(power @ mel_filterbank() + POWER_FLOOR, out=result[start : start + BLOCK_FRAMES])
    return result
