"""The trunk of a small convolutional-recurrent detector: it has learned people's speech, and no phrase yet.

``python -m lab.weights.train crnn`` trains it. Every layer is causal, and the state of a stream is explicit: a
recording in one piece and the same recording in pieces give the same outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from model.features import LOG_MEL_MEAN, LOG_MEL_SCALE, MELS
from model.plain import from_plain
from model.weights import StoredNetwork

CRNN_TRUNK = "crnn-trunk.safetensors"
STEP_FRAMES = 4  # log-mel frames per step: 40 ms
STEM = ((5, 5), (3, 3))  # kernels in time and frequency of the two first convolutions, each with a stride of 2


@dataclass(frozen=True)
class TrunkConfig:
    """The shape of the trunk.

    Attributes:
        stem: channels of the two first convolutions.
        channels: width of the residual blocks.
        kernel: steps that a block's convolution reads; dense, because depthwise ones take five times as long to train.
        dilations: steps between those that a block reads, one per block.
        recurrent: units of the recurrent layer, the width of the output.
    """

    stem: tuple[int, int] = (16, 32)
    channels: int = 128
    kernel: int = 3
    dilations: tuple[int, ...] = (1, 2, 3, 4, 5)
    recurrent: int = 144


class TrunkBlock(nn.Module):
    """A causal dilated convolution with a residual path: maps [batch, past + steps, channels] to the newest steps."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past, self.dilation = (kernel - 1) * dilation, dilation
        self.taps = nn.Linear(kernel * channels, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1] - self.past
        taps = torch.cat([x[:, at : at + steps] for at in range(0, self.past + 1, self.dilation)], dim=2)
        return x[:, self.past :] + torch.relu(normalized(self.norm, self.taps(taps)))


def normalized(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Apply batch normalization to [batch, steps, channels]."""
    result: Tensor = norm(x.flatten(0, 1)).view(x.shape)
    return result


class CrnnTrunk(StoredNetwork):
    """Maps log-mel frames to the recurrent layer's outputs, one per 40 ms."""

    def __init__(self, config: TrunkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TrunkConfig()
        first, second = config.stem
        (time1, bands1), (time2, bands2) = STEM
        self.stem1 = nn.Conv2d(1, first, (time1, bands1), 2, (0, bands1 // 2), bias=False)
        self.stem1_norm = nn.BatchNorm2d(first)
        self.stem2 = nn.Conv2d(first, second, (time2, bands2), 2, (0, bands2 // 2), bias=False)
        self.stem2_norm = nn.BatchNorm2d(second)
        self.project = nn.Linear(second * MELS // 4, config.channels, bias=False)
        self.project_norm = nn.BatchNorm1d(config.channels)
        self.blocks = nn.ModuleList(TrunkBlock(config.channels, config.kernel, d) for d in config.dilations)
        self.recurrent = nn.GRU(config.channels, config.recurrent, batch_first=True)

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        return cls(from_plain(TrunkConfig, values))

    def beginning(self, batch: int = 1) -> list[Tensor]:
        """Return the state at the beginning of ``batch`` streams; the last tensor, [1, batch, units], is the GRU's."""
        config = self.config
        shapes = [
            (batch, STEM[0][0] - 2, MELS),
            (batch, config.stem[0], STEM[1][0] - 2, MELS // 2),
            *((batch, (config.kernel - 1) * dilation, config.channels) for dilation in config.dilations),
            (1, batch, config.recurrent),
        ]
        return [torch.zeros(shape, device=self.project.weight.device) for shape in shapes]

    def forward(self, log_mel: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map log-mel [batch, STEP_FRAMES steps, MELS] to outputs [batch, steps, recurrent] and the next state."""
        after: list[Tensor] = []

        def extended(x: Tensor, dim: int) -> Tensor:
            past = state[len(after)]
            joined = torch.cat([past, x], dim)
            after.append(joined.narrow(dim, joined.shape[dim] - past.shape[dim], past.shape[dim]))
            return joined

        x = extended((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE, 1).unsqueeze(1)
        x = extended(torch.relu(self.stem1_norm(self.stem1(x))), 2)
        x = torch.relu(self.stem2_norm(self.stem2(x)))
        x = torch.relu(normalized(self.project_norm, self.project(x.permute(0, 2, 1, 3).flatten(2))))
        for block in self.blocks:
            x = block(extended(x, 1))
        outputs, memory = self.recurrent(x, state[-1])
        return outputs, [*after, memory]
