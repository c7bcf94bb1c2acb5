"""Fast augmentation of log-mel windows as they are drawn, different each time a window is used."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

WARP_FRACTION = 0.8  # fraction of the windows whose vocal tract length is changed
WARP_FACTOR = (0.8, 1.25)  # factor of the mel axis
LEVEL_SIGMA = 0.5  # standard deviation of the natural logarithm of power: 2.2 dB
MASK_FRACTION = 0.5
MASK_BANDS = 6  # maximum number of neighbouring bands in a mask
MASK_FRAMES = 8  # maximum number of frames in a mask
SILENCE = -13.8  # log-mel of digital silence


def augment_features(batch: Tensor, rng: np.random.Generator) -> Tensor:
    """Return log-mel windows [batch, frames, MELS] with warped frequencies, changed levels and masks."""
    warped = warp_frequency(batch, rng)
    levels = rng.normal(0.0, LEVEL_SIGMA, (len(batch), 1, 1)).astype(np.float32)
    return mask(warped + torch.from_numpy(levels), rng)


def warp_frequency(batch: Tensor, rng: np.random.Generator) -> Tensor:
    """Stretch the mel axis of most windows by a random factor: vocal tract length perturbation (Jaitly, Hinton 2013).

    The few voices of the embedded engines do not cover the vocal tracts of people. Without this, a held-out female
    voice was almost always missed (lab/experiments.md).
    """
    size, _, mels = batch.shape
    low, high = np.log(WARP_FACTOR)
    factor = np.where(rng.random(size) < WARP_FRACTION, np.exp(rng.uniform(low, high, size)), 1.0)
    source = np.clip(np.arange(mels)[None] * factor[:, None], 0, mels - 1)  # source band of each band
    below = np.floor(source).astype(np.int64)
    fraction = (source - below).astype(np.float32)
    weights = np.zeros((size, mels, mels), np.float32)
    window, band = np.arange(size)[:, None], np.arange(mels)[None]
    weights[window, below, band] += 1.0 - fraction
    weights[window, np.minimum(below + 1, mels - 1), band] += fraction
    return torch.bmm(batch, torch.from_numpy(weights))


def mask(batch: Tensor, rng: np.random.Generator, silence: float = SILENCE) -> Tensor:
    """Mask some frames and mel bands in half of the windows (SpecAugment, Park et al. 2019), in place."""
    from torchaudio.functional import mask_along_axis_iid  # slow to import, and needed only for training

    chosen = torch.from_numpy(rng.random(len(batch)) < MASK_FRACTION)
    windows = batch[chosen]
    with torch.random.fork_rng(devices=[]):  # torchaudio uses torch's generator; ``rng`` makes a run repeatable
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        bands = mask_along_axis_iid(windows, MASK_BANDS + 1, math.nan, 2)
        bands = torch.where(bands.isnan(), windows.mean(dim=(1, 2), keepdim=True), bands)
        batch[chosen] = mask_along_axis_iid(bands, MASK_FRAMES + 1, silence, 1)
    return batch
