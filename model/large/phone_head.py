"""The phone head on the states of the speech encoder."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from model.phones import PHONE_OUTPUTS
from model.weights import SHIPPED, StoredNetwork, load_weights

ENCODER_WIDTH = 288
WIDTH = 128
HEAD = "encoder-head.safetensors"


class PhoneHead(StoredNetwork):
    """Maps encoder states [batch, time, 288] to phone logits [batch, time, PHONE_OUTPUTS] (CTC, blank first)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(ENCODER_WIDTH)
        self.project = nn.Conv1d(ENCODER_WIDTH, WIDTH, 3, padding=1)
        self.mix = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.phones = nn.Conv1d(WIDTH, PHONE_OUTPUTS, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor) -> Tensor:
        x = functional.gelu(self.project(self.norm(states).transpose(1, 2)))
        x = self.dropout(x)
        x = self.dropout(x + functional.gelu(self.mix(x)))
        logits: Tensor = self.phones(x).transpose(1, 2)
        return logits


@cache
def shipped_head() -> tuple[PhoneHead, dict[str, Any]]:
    """Load the head of large detectors, and its ``about``. Raises HarkError if it is missing or damaged."""
    return load_weights(SHIPPED / HEAD, PhoneHead)
