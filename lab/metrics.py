"""Figures that only measurements for Hark's makers need."""

from __future__ import annotations

import numpy as np


def equal_error_rate(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The share of errors at the threshold where as many positives are missed as negatives are accepted."""
    thresholds = np.unique(np.concatenate([positives, negatives]))
    missed = np.searchsorted(np.sort(positives), thresholds) / len(positives)
    accepted = 1 - np.searchsorted(np.sort(negatives), thresholds) / len(negatives)
    place = np.abs(missed - accepted).argmin()
    return float(missed[place] + accepted[place]) / 2
