"""Effects of telephones and network audio on a voice. Every function preserves length and alignment."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import soundfile
import soxr

from audio_augmentation.equalizer import apply_response, high_pass_response, low_pass_response
from core.audio_file import SAMPLE_RATE

TELEPHONE_RATE = 8_000  # Hz
TELEPHONE_BAND_HZ = (300.0, 3400.0)  # ITU-T G.712
# libsndfile maps its compression levels 0 to 1 to these bit/s per channel (src/ogg_opus.c).
MAX_OPUS_BITRATE, MIN_OPUS_BITRATE = 256_000, 6_000


def mu_law(audio: np.ndarray) -> np.ndarray:
    """Quantize ``audio`` to 8 bits on the mu-law scale (ITU-T G.711)."""
    mu = 255.0
    limited = np.clip(audio.astype(np.float32), -1.0, 1.0)
    compressed = np.sign(limited) * np.log1p(mu * np.abs(limited)) / np.log1p(mu)
    steps = 127.0  # symmetric, so that silence remains silence
    quantized = np.round(compressed * steps) / steps
    return (np.sign(quantized) * np.expm1(np.abs(quantized) * np.log1p(mu)) / mu).astype(np.float32)


def telephone(audio: np.ndarray) -> np.ndarray:
    """Simulate a fixed-line telephone: 300 to 3400 Hz, 8 kHz, 8-bit mu-law."""
    if not len(audio):
        return audio.astype(np.float32)
    low, high = TELEPHONE_BAND_HZ
    banded = apply_response(audio, high_pass_response(low, 4.0) + low_pass_response(high, 12.0))
    narrow = mu_law(soxr.resample(banded, SAMPLE_RATE, TELEPHONE_RATE, quality="MQ"))
    return _same_length(soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE, quality="MQ"), len(audio))


def opus(audio: np.ndarray, bitrate: int = 16_000) -> np.ndarray:
    """Encode and decode ``audio`` as Opus at ``bitrate`` [bit/s] from 6,000 to 256,000, as in internet calls."""
    if not MIN_OPUS_BITRATE <= bitrate <= MAX_OPUS_BITRATE:
        raise ValueError(f"Opus here takes {MIN_OPUS_BITRATE} to {MAX_OPUS_BITRATE} bit/s, not {bitrate}")
    if not len(audio):
        return audio.astype(np.float32)
    delay = _opus_delay(bitrate)
    decoded = _opus_round_trip(np.pad(audio.astype(np.float32), (0, delay)), bitrate)
    return _same_length(decoded[delay:], len(audio))


def opus_bytes(audio: np.ndarray, bitrate: int) -> bytes:
    """Encode audio [samples] at 16 kHz as Ogg Opus, one second at a time: libsndfile's encoder crashes on more."""
    stream = io.BytesIO()
    level = (MAX_OPUS_BITRATE - bitrate) / (MAX_OPUS_BITRATE - MIN_OPUS_BITRATE)
    with soundfile.SoundFile(
        stream, "w", SAMPLE_RATE, 1, format="OGG", subtype="OPUS", compression_level=level
    ) as encoder:
        for start in range(0, len(audio), SAMPLE_RATE):
            encoder.write(np.clip(audio[start : start + SAMPLE_RATE], -1.0, 1.0))
    return stream.getvalue()


def _opus_round_trip(audio: np.ndarray, bitrate: int) -> np.ndarray:
    return soundfile.read(io.BytesIO(opus_bytes(audio, bitrate)), dtype="float32")[0]


@lru_cache(maxsize=32)
def _opus_delay(bitrate: int) -> int:
    """Measure the delay [samples] of the installed libsndfile's Opus; 0 in versions that remove the pre-skip."""
    burst = np.random.default_rng(0).standard_normal(SAMPLE_RATE // 2).astype(np.float32)
    burst = 0.2 * burst * np.hanning(len(burst)).astype(np.float32)
    decoded = _opus_round_trip(np.pad(burst, (0, SAMPLE_RATE // 4)), bitrate)
    return max(0, int(np.argmax(np.correlate(decoded, burst, "full"))) - (len(burst) - 1))


def _same_length(audio: np.ndarray, samples: int) -> np.ndarray:
    """Cut or zero-pad the end of audio to ``samples``, as float32 in [-1, 1]."""
    cut = np.clip(np.asarray(audio, dtype=np.float32)[:samples], -1.0, 1.0)
    return np.pad(cut, (0, samples - len(cut)))
