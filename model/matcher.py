"""A keyphrase HMM over phone probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Square root of the least phone probability that the matcher tells from nothing. Above what a negative bank keeps, so
# that speech from there scores as it would live.
MATCH_LEAST = 0.04
# Of the logarithm of the most probable output, taken from each state's. At 1, noise in which nothing is sure costs a
# path nothing; at 0, neither does it cost less than a wrong phone.
MATCH_RIVAL = 0.5
MATCH_JUMP = 1.0  # nats that going from phone to phone without a blank between costs: it is seldom that fast
MATCH_LEAK = 0.001  # a frame of 20 ms: what a path through the phrase loses; more costs slow speakers
MATCH_FLOOR = -2.5  # the lowest value
MATCH_MEMORY = 2500  # frames after which any path is at the floor: 50 s


# Scripted, so that ONNX gets a loop of any length.
@torch.jit.script
def follow_states(cost: Tensor, first: Tensor, skip: Tensor, value: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Viterbi's recursion: cost [batch, time, states] and value [batch, states] to values [batch, time, states].

    A state is reached from itself, from the one before (``first`` [states]: from outside, at no cost), or from the one
    before that (at ``skip`` [states], a large negative number where that must not be).
    """
    values: list[Tensor] = []
    for time in range(cost.size(1)):
        before = torch.cat([value[:, :1], value[:, :-1]], dim=1)
        before = torch.where(first, torch.zeros_like(before), before)
        earlier = torch.cat([value[:, :2], value[:, :-2]], dim=1) + skip
        value = torch.clamp(torch.maximum(torch.maximum(value, before), earlier) + cost[:, time], min=floor)
        values.append(value)
    return torch.stack(values, dim=1), value


class Matcher(nn.Module):
    """How well the phones of the phrase were just heard, one after the other: a keyphrase HMM on a trunk's outputs.

    The score is the best path's logarithm through the phrase's CTC states, a phone, against the most probable path of
    any phones as far as :data:`MATCH_RIVAL` says (at 1 it is the usual CTC keyphrase score). It needs no voice of the
    phrase, so it does not prefer those of speech engines. Values leak away and have a floor: nothing older than
    :data:`MATCH_MEMORY` frames can matter, and in speech what is older than a second or two hardly ever does.
    """

    first: Tensor
    skip: Tensor
    symbols: Tensor
    scale: Tensor
    last: Tensor

    def __init__(self, pronunciations: tuple[tuple[int, ...], ...], floor: float = MATCH_FLOOR) -> None:
        super().__init__()
        self.floor = floor  # the lowest value
        symbols: list[int] = []
        first: list[bool] = []
        skip: list[float] = []
        scale: list[float] = []
        last: list[int] = []
        for phones in pronunciations:
            for place, phone in enumerate(phones):
                states = [phone] if place == 0 else [0, phone]
                for symbol in states:
                    symbols.append(symbol)
                    first.append(place == 0)
                    follows = symbol and place and phones[place - 1] != phone
                    skip.append(-MATCH_JUMP / len(phones) if follows else -1e4)
                    scale.append(1.0 / len(phones))
            last.append(len(symbols) - 1)
        self.register_buffer("symbols", torch.tensor(symbols), persistent=False)
        self.register_buffer("first", torch.tensor(first), persistent=False)
        self.register_buffer("skip", torch.tensor(skip), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.register_buffer("last", torch.tensor(last), persistent=False)

    @property
    def states(self) -> int:
        """Numbers that are carried from frame to frame."""
        return len(self.symbols)

    def _follow(self, log_p: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        cost = (log_p - MATCH_RIVAL * log_p.amax(dim=2, keepdim=True))[:, :, self.symbols] * self.scale - MATCH_LEAK
        values, value = follow_states(cost, self.first, self.skip, value, self.floor)
        return values[:, :, self.last], value

    def forward(self, heard: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Roots of phone probabilities [batch, time, width] and values [batch, states] to scores [batch, time] <= 0."""
        each, value = self._follow(2.0 * torch.log(heard.clamp(min=MATCH_LEAST)), value)
        return each.amax(dim=2), value

    def start(self, heard: Tensor) -> Tensor:
        """Values before anything was heard [batch, states]."""
        return heard.new_full((heard.shape[0], self.states), self.floor)
