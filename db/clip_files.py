"""Clip audio as files: 16-bit FLAC at 16 kHz, named by the digest of its samples, each stored once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.data_folder import atomic_path

CLIPS_FOLDER = "clips"
FULL_SCALE = 32768.0  # the same scale as soundfile's, so reading a clip and storing it again changes nothing


def to_samples(audio: np.ndarray) -> np.ndarray:
    """Convert float audio [samples] in [-1, 1] to int16. Raises ValueError unless it is a finite, non-empty vector."""
    audio = np.asarray(audio)
    if audio.ndim != 1 or not len(audio):
        raise ValueError(f"a clip is a non-empty vector of samples, not an array of shape {audio.shape}")
    if audio.dtype == np.int16:
        return audio.astype("<i2", copy=False)
    if not np.isfinite(audio).all():
        raise ValueError("a clip's samples must be finite")
    return np.clip(np.rint(audio * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def digest_of(samples: np.ndarray) -> str:
    """Return the sha256 of little-endian int16 samples, as hexadecimal. It names the clip's file."""
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def audio_digest(audio: np.ndarray) -> str:
    """Return the digest of float audio [samples] at 16 kHz, without storing it."""
    return digest_of(to_samples(audio))


def relative_path(digest: str) -> str:
    """Return the path of a digest's clip, relative to the data folder, with forward slashes."""
    return f"{CLIPS_FOLDER}/{digest[:2]}/{digest}.flac"


def store(data_dir: Path, digest: str, samples: np.ndarray) -> bool:
    """Write a clip's file unless it exists; return True if it was written.

    The file is synced before it gets its name, so a partial file never has it. The folder is not synced: if a power cut
    loses the name, the worst result is a row without a file, which ``check_library`` repairs.
    """
    target = data_dir / relative_path(digest)
    if target.is_file():
        return False
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with atomic_path(target) as temporary:
        temporary.write_bytes(encoded.getbuffer())
    return True


def load(path: Path, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Read a clip, or samples ``start`` to ``stop`` of it, as float32 [samples] at 16 kHz.

    Raises soundfile's errors.
    """
    audio, _rate = soundfile.read(str(path), start=start, stop=stop, dtype="float32")
    return np.asarray(audio, dtype=np.float32)


def digest_on_disk(path: Path) -> str | None:
    """Return the digest of the audio in a clip's file; None if it cannot be read as a clip."""
    try:
        samples, rate = soundfile.read(str(path), dtype="int16")
    except (soundfile.LibsndfileError, OSError):
        return None
    return digest_of(samples.astype("<i2")) if rate == SAMPLE_RATE and samples.ndim == 1 and len(samples) else None
