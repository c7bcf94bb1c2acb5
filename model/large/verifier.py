"""The verifier checks each phone of a phrase where the keyword HMM has matched.

A keyword HMM sums over its phones, so one wrong phone among eight costs little, and confusables pass. The verifier
locates the phrase again, reads the speech encoder's states at each of its phones, and computes a logit for each phone.
All of them must be right. The decoder's score of the phrase (:mod:`model.large.rescoring`) is further evidence. The
verifier is not trained for a phrase: it was trained once (``lab/weights/verifier.py``), on many pairs of speech and a
text that was spoken in it or is similar, and it runs on matches only.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.keyword_hmm import MATCH_RIVAL, MIN_MATCH
from model.large.encoder_backbone import STATE_FRAMES
from model.large.phone_head import ENCODER_WIDTH
from model.phones import PHONE_OUTPUTS
from model.weights import SHIPPED, StoredNetwork, load_weights

VERIFIER = "verifier.safetensors"
HIDDEN = 96
EMBEDDING = 32
PHONE_FEATURES = 6
MIN_ROOT = 0.02  # square roots of phone probabilities below this count as equal
LEAK = 0.02  # nats per frame
JUMP = 1.0  # nats for going from phone to phone without a blank in between
JUDGED_FRAMES = 60  # frames before the end, where the encoder's certainty separates quiet from noise
NO_PHONE = PHONE_OUTPUTS  # stands for the positions before the first and after the last phone
NOISE = (-6.0, 4.0)  # bounds of the logit of noise
ACOUSTIC_EVIDENCE = 5  # number of acoustic values (see Verifier.forward)
DECODER_EVIDENCE = 3  # number of values from the decoder (see rescoring_graph)
EVIDENCE = ACOUSTIC_EVIDENCE + DECODER_EVIDENCE
JUDGE_WIDTH = 16


# Scripted, so that the ONNX loops accept any length.
@torch.jit.script
def locate(cost: Tensor, skip: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the best path (Viterbi) through the phrase, which may begin and end anywhere.

    Args:
        cost: cost of each state in each frame [batch, time, states]; states are phone, blank, phone, ..., phone, blank.
        skip: cost of skipping one state before each state [batch, states].
        last: the state in which a path ends [batch, 1].

    Returns:
        Score [batch], the frame of its end [batch], and the frame in which each state was entered [batch, states].
    """
    states = cost.size(2)
    value = torch.full_like(skip, -1e4)
    outside = torch.zeros_like(skip[:, :1])
    never = torch.full_like(skip[:, :2], -1e4)
    steps: list[Tensor] = []
    ends: list[Tensor] = []
    for time in range(cost.size(1)):
        one = torch.cat([outside, value[:, : states - 1]], dim=1)
        two = torch.cat([never, value[:, : states - 2]], dim=1) + skip
        better = torch.maximum(value, one)
        step = torch.where(two > better, 2, torch.where(one > value, 1, 0))
        value = torch.maximum(better, two) + cost[:, time]
        steps.append(step)
        ends.append(value.gather(1, last))
    choices = torch.stack(steps, dim=1)
    score, end = torch.cat(ends, dim=1).max(dim=1)
    numbers = torch.arange(states, device=cost.device).unsqueeze(0)
    state = last
    entered = torch.zeros_like(choices[:, 0])
    for back in range(cost.size(1)):
        time = cost.size(1) - 1 - back
        step = choices[:, time].gather(1, state.clamp(min=0))
        step = torch.where((state >= 0) & (end.unsqueeze(1) >= time), step, torch.zeros_like(step))
        entered = torch.where((numbers == state) & (step > 0), torch.full_like(entered, time), entered)
        state = state - step
    return score, end, entered


def located(roots: Tensor, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Locate the best match of phrases, whose format is that of :class:`Verifier`.

    Returns the score per phone [batch], the last frame [batch], and the first frame of each phone [batch, phones].
    """
    log_p = 2 * torch.log(roots.clamp(min=MIN_MATCH))
    cost = log_p - MATCH_RIVAL * log_p.amax(dim=2, keepdim=True) - LEAK
    states = torch.stack([phones, torch.zeros_like(phones)], dim=2).flatten(1)
    cost = cost.gather(2, states[:, None].expand(-1, roots.shape[1], -1))
    follows = functional.pad((phones[:, 1:] != phones[:, :-1]).float(), (1, 0))
    skip = torch.where(follows > 0, -JUMP, -1e4)
    skip = torch.stack([skip, torch.full_like(skip, -1e4)], dim=2).flatten(1)
    score, end, entered = locate(cost, skip, 2 * (lengths[:, None] - 1))
    return score / lengths, end, entered[:, 0::2]


def _at(values: Tensor, frames: Tensor) -> Tensor:
    return values.gather(1, frames[..., None].expand(-1, -1, values.shape[2]))


def _sureness(roots: Tensor, end: Tensor) -> Tensor:
    """Return the encoder's certainty before each end [batch]: the mean log-probability of its best outputs."""
    frames = torch.arange(roots.shape[1], device=roots.device)[None]
    judged = ((frames > end[:, None] - JUDGED_FRAMES) & (frames <= end[:, None])).float()
    return (2 * torch.log(roots.clamp(min=MIN_MATCH)).amax(dim=2) * judged).sum(dim=1) / judged.sum(dim=1)


class Verifier(StoredNetwork):
    """The verifier's network.

    Phones of phrases are outputs [batch, phones], arbitrary after their ``lengths`` [batch]; ``roots`` are square roots
    of phone probabilities [batch, time, PHONE_OUTPUTS], ``states`` are [batch, time / 4, ENCODER_WIDTH].
    """

    centre: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Linear(ENCODER_WIDTH + PHONE_OUTPUTS, HIDDEN), nn.GELU(), nn.Dropout(0.1))
        self.first = nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2)
        self.second = nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2)
        self.embed = nn.Embedding(PHONE_OUTPUTS + 1, EMBEDDING)
        self.mix = nn.Sequential(
            nn.Linear(3 * (HIDDEN + EMBEDDING) + PHONE_FEATURES, 128), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(128, HIDDEN), nn.GELU(),
        )  # fmt: skip
        # Two GRUs instead of a bidirectional one, for which ONNX would require packed sequences.
        self.onward = nn.GRU(HIDDEN, HIDDEN // 2, batch_first=True)
        self.homeward = nn.GRU(HIDDEN, HIDDEN // 2, batch_first=True)
        self.phone = nn.Linear(2 * HIDDEN, 1)
        self.noise = nn.Linear(2 * ENCODER_WIDTH, 1)  # input: mean and deviation of the states over time
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.judge = nn.Sequential(nn.Linear(EVIDENCE, JUDGE_WIDTH), nn.Tanh(), nn.Linear(JUDGE_WIDTH, 1))
        self.register_buffer("centre", torch.zeros(EVIDENCE))  # mean and spread of the evidence in training
        self.register_buffer("spread", torch.ones(EVIDENCE))

    def forward(self, roots: Tensor, states: Tensor, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logit that all phones are right [batch], each phone's [batch, phones], and the acoustic evidence.

        The evidence [batch, ACOUSTIC_EVIDENCE] is the score per phone, the encoder's certainty, the logit, the lowest
        logit of a phone, and the logit of noise.
        """
        with torch.no_grad():
            score, end, begins = located(roots, phones, lengths)
        time, count = roots.shape[1], phones.shape[1]
        log_p = 2 * torch.log(roots.clamp(min=MIN_ROOT))
        beside = states.repeat_interleave(STATE_FRAMES, dim=1)[:, :time]
        x = self.read(torch.cat([beside, log_p / 4], dim=2)).transpose(1, 2)
        x = x + functional.gelu(self.first(x))
        x = (x + functional.gelu(self.second(x))).transpose(1, 2)

        places = torch.arange(count, device=roots.device)[None]
        is_last = places == lengths[:, None] - 1
        ends = torch.where(is_last, end[:, None] + 1, torch.cat([begins[:, 1:], begins[:, -1:]], dim=1))
        ends = torch.maximum(ends, begins + 1).clamp(max=time)
        lead = (begins - 1).clamp(min=0)

        def summed(values: Tensor) -> Tensor:  # sum over each phone
            running = functional.pad(values.cumsum(dim=1), (0, 0, 1, 0))
            return _at(running, ends) - _at(running, lead)

        own = log_p.gather(2, phones[:, None].expand(-1, time, -1))
        best = log_p.amax(dim=2)
        near = [(begins + d).clamp(0, time - 1) for d in (-1, 0, 1, 2)]
        features = [
            own.gather(1, begins[:, None])[:, 0] / 4,
            torch.stack([own.gather(1, frames[:, None])[:, 0] for frames in near], dim=2).amax(dim=2) / 4,
            torch.stack([best.gather(1, frames) for frames in near], dim=2).amin(dim=2) / 4,
            torch.log((ends - begins).float()),
            summed(log_p[:, :, 1:].amax(dim=2, keepdim=True).exp())[..., 0],
            (places / lengths[:, None]).expand_as(begins),
        ]
        outside = torch.full_like(phones[:, :1], NO_PHONE)
        before = torch.cat([outside, phones[:, :-1]], dim=1)
        after = torch.where(is_last, NO_PHONE, torch.cat([phones[:, 1:], outside], dim=1))
        x = self.mix(
            torch.cat(
                [
                    summed(x) / (ends - lead)[..., None],
                    _at(x, (begins - 3).clamp(min=0)),
                    _at(x, (ends + 1).clamp(max=time - 1)),
                    *(self.embed(phone_logits) for phone_logits in (phones, before, after)),
                    torch.stack(features, dim=2),
                ],
                dim=2,
            )
        )
        is_phone = places < lengths[:, None]
        mirrored = torch.where(is_phone, lengths[:, None] - 1 - places, places)
        context = [self.onward(x)[0], _at(self.homeward(_at(x, mirrored))[0], mirrored)]
        phone_logits = self.phone(torch.cat([x, *context], dim=2))[..., 0]
        any_wrong = torch.logsumexp(torch.where(is_phone, -phone_logits, -1e4), dim=1)
        logit = self.bias - any_wrong * functional.softplus(self.scale)
        sure = _sureness(roots, end)
        least = torch.where(is_phone, phone_logits, 1e4).amin(dim=1)
        return logit, phone_logits, torch.stack([score, sure, logit, least, self.noisy(states)], dim=1)

    def noisy(self, states: Tensor) -> Tensor:
        """Return the logit that speech is noisy or reverberant [batch], from its states."""
        mean = states.mean(dim=1)
        deviation = (states.square().mean(dim=1) - mean.square()).clamp(min=0).sqrt()
        logit: Tensor = self.noise(torch.cat([mean, deviation], dim=1))[:, 0].clamp(*NOISE)
        return logit

    def verdict(self, evidence: Tensor) -> Tensor:
        """Return the logit that the phrase was spoken [batch], from acoustic and decoder evidence [batch, EVIDENCE]."""
        logit: Tensor = self.judge((evidence - self.centre) / self.spread)[:, 0]
        return logit


@cache
def shipped_verifier() -> tuple[Verifier, dict[str, Any]]:
    """Load the verifier of large detectors, and its ``about``. Raises HarkError if it is missing or damaged."""
    return load_weights(SHIPPED / VERIFIER, Verifier)
