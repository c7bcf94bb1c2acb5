"""A small network that recognizes the phrase at the end of a window of a frozen backbone's states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NOISE = 1.5  # standard deviation of the noise added to states in training; it stands for unseen voices
MIN_VARIANCE = 2.5e-3  # minimum variance of a state, so that one that hardly varies is not amplified


@dataclass(frozen=True)
class PhraseNetworkConfig:
    """The shape of the network.

    Attributes:
        states: values per step.
        steps: steps that a logit depends on.
        stride: steps per logit.
        members: perceptrons with different initial weights, whose outputs are averaged.
        projected: values per step in each member's projection of the states.
        hidden: hidden units of each member.
    """

    states: int
    steps: int
    stride: int
    members: int = 3
    projected: int = 16
    hidden: int = 32
    dropout: float = 0.2


class PhraseNetwork(nn.Module):
    """Perceptrons on a window of states, each with its own projection."""

    def __init__(self, config: PhraseNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm1d(config.states, eps=MIN_VARIANCE, affine=False)
        self.project = nn.Linear(config.states, config.members * config.projected)
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(config.dropout),
                nn.Linear(config.steps * config.projected, config.hidden),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.hidden, 1),
            )
            for _ in range(config.members)
        )

    def projection(self) -> tuple[Tensor, Tensor]:
        """Return weights [members * projected, states] and biases of :meth:`projected` in evaluation, before ReLU."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None
        weight = self.project.weight * torch.rsqrt(variance + self.norm.eps)
        return weight, self.project.bias - weight @ mean

    def layers(self) -> Iterator[tuple[nn.Linear, nn.Linear]]:
        """Yield the two layers of each member."""
        for member in self.members:
            first, last = (layer for layer in cast("nn.Sequential", member) if isinstance(layer, nn.Linear))
            yield first, last

    def projected(self, states: Tensor) -> Tensor:
        """Map states [batch, steps, states] to the perceptrons' inputs [batch, steps, members * projected]."""
        if not self.training:
            return torch.relu(functional.linear(states, *self.projection()))
        x = self.norm(states.transpose(1, 2)).transpose(1, 2)
        return torch.relu(self.project(x + NOISE * torch.randn_like(x)))

    def logits(self, projected: Tensor) -> Tensor:
        """Map :meth:`projected` to logits [batch, n, members]."""
        starts = torch.arange(0, projected.shape[1] - self.config.steps + 1, self.config.stride)
        index = starts.unsqueeze(1) + torch.arange(self.config.steps).unsqueeze(0)
        parts = projected.split(self.config.projected, dim=2)
        return torch.cat([member(part[:, index].flatten(2)) for member, part in zip(self.members, parts)], dim=2)

    def forward(self, states: Tensor) -> Tensor:
        """Map states [batch, steps + stride (n - 1), states] to logits [batch, n, members]."""
        return self.logits(self.projected(states))
