"""The training loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LABEL_SMOOTHING = 0.05


def detection_loss(logits: Tensor, labels: Tensor, negative_weight: float) -> Tensor:
    """Binary cross-entropy with smoothed labels; negatives weigh ``negative_weight`` times a positive.

    Args:
        logits: [batch].
        labels: [batch], 0 or 1.
        negative_weight: ramped up during training, so that the detector first learns what the phrase is and then
            what it is not.
    """
    targets = labels * (1.0 - LABEL_SMOOTHING) + 0.5 * LABEL_SMOOTHING
    weights = torch.where(labels > 0.5, 1.0, negative_weight)
    return functional.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="sum") / weights.sum()
