"""Metrics for the lab's measurements only."""

from __future__ import annotations

import numpy as np


def equal_error_rate(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the error rate at the threshold where the rates of missed positives and accepted negatives are equal."""
    thresholds = np.unique(np.concatenate([positives, negatives]))
    missed = np.searchsorted(np.sort(positives), thresholds) / len(positives)
    accepted = 1 - np.searchsorted(np.sort(negatives), thresholds) / len(negatives)
    place = np.abs(missed - accepted).argmin()
    return float(missed[place] + accepted[place]) / 2
