"""The outline of a sound, for pages to draw."""

from __future__ import annotations

import numpy as np


def peaks(audio: np.ndarray, most: int) -> list[float]:
    """The loudest sample (0 to 1) of each of at most ``most`` equal parts of audio [samples]."""
    step = max(1, -(-len(audio) // most))
    parts = np.pad(np.abs(audio), (0, -len(audio) % step)).reshape(-1, step)
    return [round(float(peak), 3) for peak in parts.max(axis=1)]
