"""A small network that learns one phrase: whether it ends a window of a backbone's states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

STEP_FRAMES = 2  # frames of 20 ms of a step
SCORE_STEPS = 2  # steps from one score to the next
NOISE = 1.5  # standard deviations that are added to states in training: voices that nobody has made
LEAST_VARIANCE = 2.5e-3  # of a state; one that hardly ever changes is not blown up


@dataclass(frozen=True)
class PhraseNetworkConfig:
    """The shape of the network.

    Attributes:
        states: numbers a step of 40 ms.
        steps: that a logit depends on.
        members: perceptrons that begin with different weights; their mean counts.
        projected: numbers a step that each makes of the states.
        hidden: units of each.
    """

    states: int
    steps: int
    members: int = 3
    projected: int = 16
    hidden: int = 32
    dropout: float = 0.2


class PhraseNetwork(nn.Module):
    """Perceptrons on a window of states, each with a projection of its own."""

    def __init__(self, config: PhraseNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm1d(config.states, eps=LEAST_VARIANCE, affine=False)
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

    def projected(self, states: Tensor) -> Tensor:
        """States [batch, steps, states] to what the perceptrons see of them [batch, steps, members * projected]."""
        if self.training:
            x = self.norm(states.transpose(1, 2)).transpose(1, 2)
            x = x + NOISE * torch.randn_like(x)
        else:  # what the norm does then, as the exporter takes it
            mean, variance = self.norm.running_mean, self.norm.running_var
            assert mean is not None and variance is not None
            x = (states - mean) * torch.rsqrt(variance + self.norm.eps)
        return torch.relu(self.project(x))

    def logits(self, projected: Tensor) -> Tensor:
        """What :meth:`projected` gives, to logits [batch, n, members], one every 80 ms."""
        starts = torch.arange(0, projected.shape[1] - self.config.steps + 1, SCORE_STEPS)
        index = starts.unsqueeze(1) + torch.arange(self.config.steps).unsqueeze(0)
        parts = projected.split(self.config.projected, dim=2)
        return torch.cat([member(part[:, index].flatten(2)) for member, part in zip(self.members, parts)], dim=2)

    def forward(self, states: Tensor) -> Tensor:
        """States [batch, steps + 2 (n - 1), states] to logits [batch, n, members]."""
        return self.logits(self.projected(states))
