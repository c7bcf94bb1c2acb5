"""Augmentation of log-mel windows."""

from __future__ import annotations

import numpy as np
import torch

from model.feature_augmentation import SILENCE, WARP_FACTOR, augment_features, mask, warp_frequency


def _windows(size: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(-4, 3, (size, 120, 40)).astype(np.float32))


def test_keeps_shape_changes_most_and_spoils_none() -> None:
    batch = _windows()
    augmented = augment_features(batch.clone(), np.random.default_rng(0))
    assert augmented.shape == batch.shape and torch.isfinite(augmented).all()
    assert (augmented != batch).flatten(1).any(dim=1).float().mean() > 0.9
    assert torch.equal(augmented, augment_features(batch.clone(), np.random.default_rng(0)))


def test_warping_moves_a_band_by_the_factor() -> None:
    batch = torch.zeros(400, 4, 40)
    batch[:, :, 20] = 1.0
    peaks = warp_frequency(batch, np.random.default_rng(0))[:, 0].argmax(dim=1).numpy()
    low, high = WARP_FACTOR
    assert peaks.min() >= np.floor(20 / high) and peaks.max() <= np.ceil(20 / low)
    assert (peaks == 20).mean() > 0.15  # some windows are left alone
    assert peaks.min() <= 17 and peaks.max() >= 23


def test_masks_leave_the_rest_untouched() -> None:
    batch = _windows()
    masked = mask(batch.clone(), np.random.default_rng(0))
    changed = masked != batch
    assert changed.any() and changed.float().mean() < 0.2
    silent = (masked == SILENCE).all(dim=2)
    assert silent.any() and silent.sum(dim=1).max() <= 8
