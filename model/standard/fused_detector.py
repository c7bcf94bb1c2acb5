"""The ``standard`` detector: the keyword HMM on the shipped backbone, plus a small network that learned the phrase.

The network reads the same backbone's states. The two make different errors, so their sum detects more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from model.detector import TrainedDetector
from model.export import Carried
from model.keyword_hmm import Pronunciations, window_frames
from model.phones import PHONE_OUTPUTS
from model.standard.backbone import EmbeddingBackbone
from model.standard.backbone_detector import BackboneDetector, BackboneDetectorConfig
from model.standard.phrase_network import PhraseNetwork, PhraseNetworkConfig

STEP_FRAMES = 2  # frames of 20 ms per step of the network
SCORE_STEPS = 2  # steps per score
NETWORK_WEIGHT = 0.4  # match score per logit of the network
SUREST = 12.0  # the network's logit is clipped to plus or minus this
BLOCK_SCORES = 750  # scores computed together: a minute


@dataclass(frozen=True, kw_only=True)
class FusedDetectorConfig(BackboneDetectorConfig):
    """The shape of a keyword HMM and a network on one backbone, which outputs states as well as phones."""

    kind = "fused"
    network: PhraseNetworkConfig


class FusedDetector(BackboneDetector, TrainedDetector):
    """A keyword HMM for the phrase's phones, plus a network trained on utterances of the phrase."""

    title = "A keyword HMM of phones, and a network that has learned the phrase, on a convolutional network"
    floor = -3.2  # lower than without a network, which alone must not trigger on sounds unlike the phrase
    end_jitter = (0, 20)
    config: FusedDetectorConfig

    def __init__(self, config: FusedDetectorConfig) -> None:
        super().__init__(config)
        self.backbone.requires_grad_(False)
        self.network = PhraseNetwork(config.network)

    @classmethod
    def of_phrase(cls, backbone: EmbeddingBackbone, pronunciations: Pronunciations, window_s: float) -> Self:
        """Return a detector with an untrained network, for a phrase that fits into ``window_s`` seconds."""
        frames = window_frames(window_s)
        shape = replace(backbone.config, states=True)
        network = PhraseNetworkConfig(shape.channels, frames // STEP_FRAMES, SCORE_STEPS)
        detector = cls(
            FusedDetectorConfig(pronunciations=pronunciations, window_frames=frames, backbone=shape, network=network)
        )
        detector.backbone.load_state_dict(backbone.state_dict())
        return detector.eval()

    @property
    def front_end_id(self) -> str:
        return f"{super().front_end_id}+states"

    def states(self, outputs: Tensor) -> Tensor:
        """Join the half-states in backbone outputs [batch, frames, width] to states [batch, steps, states]."""
        return outputs[:, :, PHONE_OUTPUTS:].reshape(outputs.shape[0], -1, self.config.network.states)

    def forward(self, stored: Tensor) -> Tensor:
        return self.network(self.states(stored))

    def matches(self, stored: np.ndarray) -> np.ndarray:
        self.eval()
        frames, step = self.config.window_frames, BLOCK_SCORES * SCORE_STEPS * STEP_FRAMES
        starts = range(0, stored.shape[1] - frames + 1, step)
        with torch.no_grad():
            outputs = torch.from_numpy(stored)
            logits = [self(outputs[:, at : at + step + frames - SCORE_STEPS * STEP_FRAMES]) for at in starts]
            added = network_match(torch.cat(logits, dim=1))
        result: np.ndarray = super().matches(stored) + added.numpy()
        return result

    def stream_shapes(self) -> list[tuple[int, ...]]:
        network = self.config.network
        return [(1, network.steps - SCORE_STEPS, network.members * network.projected), *super().stream_shapes()]

    def stream_match(self, outputs: Tensor, carried: Carried) -> Tensor:
        projected = carried.extended(self.network.projected(self.states(outputs)), 1)
        return super().stream_match(outputs, carried) + network_match(self.network.logits(projected))


def network_match(logits: Tensor) -> Tensor:
    """Convert the perceptrons' logits [batch, n, members] to match scores [batch, n]."""
    return NETWORK_WEIGHT * logits.mean(dim=2).clamp(-SUREST, SUREST)
