"""Augmentation of log-mel windows."""

from __future__ import annotations

import numpy as np
import torch

from model.feature_augmentation import (
    MASK_BANDS,
    MASK_FRACTION,
    MASK_FRAMES,
    SILENCE,
    WARP_FACTOR,
    augment_features,
    mask,
    warp_frequency,
)


def _windows(size: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(-4, 3, (size, 120, 40)).astype(np.float32))


def test_augmentation_changes_most_windows_and_keeps_their_shape() -> None:
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


def test_masks_leave_the_rest_unchanged() -> None:
    batch = _windows()
    masked = mask(batch.clone(), np.random.default_rng(0))
    changed = masked != batch
    assert changed.any() and changed.float().mean() < 0.2
    silent = (masked == SILENCE).all(dim=2)
    assert silent.any() and silent.sum(dim=1).max() <= 8


def test_masks_use_every_allowed_width_and_change_half_the_windows() -> None:
    batch = _windows(2000)
    masked = mask(batch.clone(), np.random.default_rng(0))
    assert torch.equal(masked, mask(batch.clone(), np.random.default_rng(0))), "the same seed gives the same masks"
    frames = (masked == SILENCE).all(dim=2).sum(dim=1)
    bands = ((masked == batch.mean(dim=(1, 2), keepdim=True)) & (masked != SILENCE)).any(dim=1).sum(dim=1)
    for widths, most in ((frames, MASK_FRAMES), (bands, MASK_BANDS)):
        counts = torch.bincount(widths, minlength=most + 1)
        assert len(counts) == most + 1 and counts[1:].min() > 2000 * MASK_FRACTION / (most + 1) / 2
    assert 0.4 < ((frames > 0) | (bands > 0)).float().mean() < 0.55


def test_masks_do_not_use_the_random_generator_of_torch() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    mask(_windows(), np.random.default_rng(0))
    assert torch.equal(torch.rand(3), expected)
