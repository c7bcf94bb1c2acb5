"""The recognizer: two convolutions, two bidirectional LSTM layers, and linear layers for characters and for phones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from model.features import LOG_MEL_MEAN, LOG_MEL_SCALE, MELS
from model.phones import CHARACTER_OUTPUTS, PHONE_OUTPUTS
from model.plain import from_plain
from model.weights import SHIPPED, StoredNetwork, load_weights

RECOGNIZER = "recognizer.safetensors"
STRIDE = 2  # log-mel frames per output: 20 ms


@dataclass(frozen=True)
class RecognizerConfig:
    """The shape of a recognizer; stored in every checkpoint."""

    channels: tuple[int, int] = (32, 48)
    projection: int = 256
    hidden: int = 320  # units per direction
    layers: int = 2
    dropout: float = 0.2


class Recognizer(StoredNetwork):
    """Map log-mel [batch, frames, MELS] to logits over characters and phones, one per 20 ms (CTC, blank first)."""

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=(STRIDE, 2), padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=(1, 2), padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
        )
        self.project = nn.Linear(second * (MELS // 4), config.projection)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = nn.LSTM(
            config.projection,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout,
        )
        self.characters = nn.Linear(2 * config.hidden, CHARACTER_OUTPUTS)
        self.phones = nn.Linear(2 * config.hidden, PHONE_OUTPUTS)

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        return cls(from_plain(RecognizerConfig, values))

    def forward(self, log_mel: Tensor) -> dict[str, Tensor]:
        """Return logits: ``characters`` [batch, time, CHARACTER_OUTPUTS], ``phones`` [batch, time, PHONE_OUTPUTS]."""
        x = self.convolutions(((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE).unsqueeze(1))
        x = torch.relu(self.project(x.permute(0, 2, 1, 3).flatten(2)))
        x, _ = self.recurrent(self.dropout(x))
        x = self.dropout(x)
        return {"characters": self.characters(x), "phones": self.phones(x)}


def shipped_recognizer() -> tuple[Recognizer, dict[str, Any]]:
    """Load Hark's recognizer, and its ``about``. Raises HarkError if it is missing or damaged."""
    return load_weights(SHIPPED / RECOGNIZER, Recognizer)
