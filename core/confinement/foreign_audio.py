"""Untrusted audio: no decoder runs in this process, and headers are not trusted.

A confined ffmpeg or libsndfile decodes it, and its messages are not passed on. Hark's own files are read by
:mod:`core.audio_file`, which is faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE, check_file, joined, mono_blocks
from core.confinement.decoding import decoded
from core.errors import HarkError


def read_foreign_audio(path: Path | str, max_seconds: float | None = None, start_s: float = 0.0) -> np.ndarray:
    """Read a file, or a part of it, as mono float32 [samples] at 16 kHz; a part that begins after the end is empty.

    Raises the errors of :func:`foreign_audio_blocks`, but not for damage after ``max_seconds``.
    """
    return joined(foreign_audio_blocks(path, start_s, max_seconds), max_seconds)


def foreign_audio_blocks(
    path: Path | str, start_s: float = 0.0, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """Yield a file as blocks of mono float32 at 16 kHz.

    Raises the errors of :func:`core.audio_file.read_audio_blocks`.
    """
    path = Path(path)
    check_file(path)
    yield from mono_blocks(path, decoded(path, start_s, max_seconds), start_s, max_seconds)


def seconds_of(path: Path) -> float:
    """Measure a file's duration in seconds by decoding, up to any damage. Raises HarkError if it is not audio."""
    seconds = 0.0
    try:
        for block in foreign_audio_blocks(path):
            seconds += len(block) / SAMPLE_RATE
    except HarkError:
        if not seconds:
            raise
    return seconds
