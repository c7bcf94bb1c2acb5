"""The training loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

LABEL_SMOOTHING = 0.05


def detection_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy with smoothed labels, the mean over a batch.

    Args:
        logits: [batch].
        labels: [batch], 0 or 1.
    """
    targets = labels * (1.0 - LABEL_SMOOTHING) + 0.5 * LABEL_SMOOTHING
    return functional.binary_cross_entropy_with_logits(logits, targets)
