"""The keyword HMM on the frozen shipped backbone: a trial's ``standard`` detector.

All other ``standard`` detectors add a network to it (:mod:`model.standard.fused_detector`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from model.detector import scores_of_many
from model.export import Call, Carried, export_streaming, write_onnx
from model.features import CHUNK_SAMPLES, FRAME_STRIDE, HOP, StoredFrames, lead_in
from model.keyword_hmm import (
    CHUNK_STEPS,
    MATCH_FLOOR,
    HMMConfig,
    HMMDetector,
    KeywordHMM,
    Pronunciations,
    window_frames,
)
from model.standard.backbone import (
    FRAMES_AT_ONCE,
    MEL_TAIL,
    EmbeddingBackbone,
    EmbeddingBackboneConfig,
    shipped_backbone,
)
from model.standard.backbone_front_end import BackboneFrontEnd
from model.weights import weights_digest


@dataclass(frozen=True, kw_only=True)
class BackboneDetectorConfig(HMMConfig):
    kind = "backbone"
    backbone: EmbeddingBackboneConfig = field(default_factory=EmbeddingBackboneConfig)

    @property
    def stored(self) -> StoredFrames:
        lead = self.backbone.receptive_frames
        return StoredFrames(self.backbone.width, FRAME_STRIDE, self.window_frames, CHUNK_STEPS, lead, FRAMES_AT_ONCE)

    @property
    def receptive_samples(self) -> int:
        """Audio samples that one score depends on.

        They are whole chunks, and the samples before these that the first frame needs. A recording's frames thus end
        where a stream's do, although the backbone computes frames in pairs.
        """
        chunks = -(-(super().receptive_samples - MEL_TAIL) // CHUNK_SAMPLES)
        return MEL_TAIL + chunks * CHUNK_SAMPLES


class BackboneDetector(HMMDetector):
    """A small convolutional network with about 0.5 million parameters; it runs everywhere."""

    title = "A keyword HMM of phones on a convolutional network"
    floor = MATCH_FLOOR
    slope = 5.0
    level = -1.2
    quantizes = True
    config: BackboneDetectorConfig

    def __init__(self, config: BackboneDetectorConfig) -> None:
        super().__init__(config)
        self.backbone = EmbeddingBackbone(config.backbone)

    @classmethod
    def of_phrase(cls, backbone: EmbeddingBackbone, pronunciations: Pronunciations, window_s: float) -> Self:
        """Return an uncalibrated detector for a phrase that fits into ``window_s`` seconds."""
        frames = window_frames(window_s)
        detector = cls(
            BackboneDetectorConfig(pronunciations=pronunciations, window_frames=frames, backbone=backbone.config)
        )
        detector.backbone.load_state_dict(backbone.state_dict())
        return detector.eval()

    @property
    def front_end_id(self) -> str:
        return f"backbone-{weights_digest(self.backbone)}"

    def foundation(self) -> dict[str, Any]:
        return {"backbone": shipped_backbone()[1]}

    def front_end(self, folder: Path) -> BackboneFrontEnd:
        backbone, graph = self.backbone.eval(), folder / "backbone.onnx"
        axes = {"audio": {0: "batch", 1: "samples"}, "heard": {0: "batch", 1: "time"}}
        example = torch.zeros(1, (backbone.config.receptive_frames + 16) * HOP)
        write_onnx(Call(backbone, backbone.encode), (example,), graph, ("audio",), ("heard",), axes)
        return BackboneFrontEnd(self.config.stored, str(graph))

    @torch.no_grad()
    def encode(self, audio: np.ndarray) -> np.ndarray:
        count = len(audio) // CHUNK_SAMPLES
        sound = lead_in(audio[: count * CHUNK_SAMPLES], self.config.receptive_samples)
        outputs: np.ndarray = self.backbone.eval().encode(torch.from_numpy(sound)[None])[0].numpy()
        # A stream's frames end at chunk boundaries.
        return outputs[max(0, len(outputs) - self.config.window_frames - CHUNK_STEPS * (count - 1)) :]

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        return scores_of_many(self, [self.encode(audio)])[0]

    def export(self, path: Path) -> int:
        return export_streaming(self, path)

    def stream_shapes(self) -> list[tuple[int, ...]]:
        each = [((1, keyword_hmm.states), (1, pool - CHUNK_STEPS)) for keyword_hmm, pool in self.pools()]
        return [*(shape for shapes in each for shape in shapes), (1, 1)]

    def stream_logits(self, outputs: Tensor, carried: Carried) -> Tensor:
        return self.logits(self.stream_match(outputs.transpose(1, 2), carried))

    def stream_match(self, outputs: Tensor, carried: Carried) -> Tensor:
        """Map new backbone outputs [1, time, width] to match scores [1, n]."""
        # Values are stored relative to their floor, so that a state of zeros means the start of a stream. Paths that
        # begin in the first chunk are discarded: the backbone's own past is not silence there, and a path that began
        # with its outputs would wait through the silence for the rest of the phrase.
        begun = carried.before[-1]  # 0 in a state of zeros, 1 after the first chunk

        def last_frames(keyword_hmm: KeywordHMM, pool: int) -> Tensor:
            scores, value = keyword_hmm(outputs, carried.take() + self.floor)
            carried.keep((value - self.floor) * begun)
            scores = carried.extended((scores - self.floor) * begun, 1) + self.floor
            starts = torch.arange(0, scores.shape[1] - pool + 1, CHUNK_STEPS)
            index = starts.unsqueeze(1) + torch.arange(pool).unsqueeze(0)
            return scores[0][index].unsqueeze(0)

        match = self.combined([last_frames(keyword_hmm, pool) for keyword_hmm, pool in self.pools()])
        carried.keep(torch.ones_like(begun))
        return match
