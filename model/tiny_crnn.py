"""TinyCRNN, the detector that is trained from scratch: it maps log-mel frames to one logit per window.

Every layer is causal and uses no padding, and the GRU starts from zero in every window, so a logit depends on exactly
``receptive_frames`` log-mel frames. Thus training on cropped windows and streaming compute the same logit, unaffected
by earlier audio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.backbone import STEM_STRIDE, Backbone, BackboneConfig
from model.detector import DetectorConfig, TrainedDetector, scores_of_many
from model.export import Carried, export_streaming
from model.feature_augmentation import augment_features
from model.features import CHUNK_FRAMES, MELS, StoredFrames, lead_in, log_mel
from model.front_end import FrontEnd

BRIDGE_STRIDE = 2  # the recurrent layer runs at 40 ms per step
SCORE_STRIDE = CHUNK_FRAMES // STEM_STRIDE // BRIDGE_STRIDE  # recurrent steps per score
BLOCK_SCORES = 750  # scores computed together: a minute


@dataclass(frozen=True)
class TinyCRNNConfig(DetectorConfig):
    kind = "crnn"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    recurrent_input: int = 48
    recurrent_size: int = 64
    window_frames: int = 40  # steps of 40 ms that the recurrent layer sees: 1.6 s
    pool_frames: int = 5  # the logit is a soft maximum over this many last steps: 200 ms
    dropout: float = 0.1

    @staticmethod
    def for_window(window_s: float) -> TinyCRNNConfig:
        return TinyCRNNConfig(window_frames=max(12, round(window_s / 0.04)))

    @property
    def stored(self) -> StoredFrames:
        frames = self.backbone.receptive_frames + STEM_STRIDE * (self.window_frames * BRIDGE_STRIDE - 1)
        return StoredFrames(MELS, 1, frames, CHUNK_FRAMES, 1)


class TinyCRNN(TrainedDetector):
    """A backbone of its own, with a recurrent layer and an MLP head."""

    batch_frames = 160_000
    quantizes = True
    front_end_id = "log-mel"
    on_gpu = True
    config: TinyCRNNConfig

    def __init__(self, config: TinyCRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        self.bridge = nn.Conv1d(config.backbone.channels, config.recurrent_input, BRIDGE_STRIDE, stride=BRIDGE_STRIDE)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = nn.GRU(config.recurrent_input, config.recurrent_size, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(config.recurrent_size, config.recurrent_size), nn.ReLU(), nn.Linear(config.recurrent_size, 1)
        )

    def to_recurrent(self, x: Tensor) -> Tensor:
        """Map backbone outputs [batch, channels, time at 20 ms] to recurrent input [batch, time at 40 ms, size]."""
        return torch.relu(self.bridge(x)).transpose(1, 2)

    def window_logits(self, windows: Tensor) -> Tensor:
        """Map windows of recurrent input [windows, window_frames, size] to logits [windows].

        The soft maximum over the last frames allows the phrase to end anywhere in the last 200 ms.
        """
        states, _ = self.recurrent(self.dropout(windows))
        frame_logits = self.head(self.dropout(states[:, -self.config.pool_frames :])).squeeze(-1)
        peak = frame_logits.amax(dim=1, keepdim=True)
        return (frame_logits - peak).exp().mean(dim=1).log() + peak.squeeze(1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log-mel [batch, receptive_frames + 8 (n - 1), MELS] to logits [batch, n], one per 80 ms."""
        encoded = self.to_recurrent(self.backbone(log_mel).transpose(1, 2))
        windows = encoded.unfold(1, self.config.window_frames, SCORE_STRIDE).transpose(2, 3)
        return self.window_logits(windows.flatten(0, 1)).view(windows.shape[0], windows.shape[1])

    def augmented(self, windows: Tensor, rng: np.random.Generator) -> Tensor:
        return augment_features(windows, rng)

    def front_end(self, folder: Path) -> FrontEnd:
        return FrontEnd(self.config.stored)

    @torch.no_grad()
    def scores(self, stored: np.ndarray) -> np.ndarray:
        self.eval()
        device = next(self.parameters()).device
        step, lead = BLOCK_SCORES * CHUNK_FRAMES, self.config.receptive_frames - CHUNK_FRAMES
        blocks = [stored[:, first : first + step + lead] for first in range(0, stored.shape[1] - lead, step)]
        logits = torch.cat([self(torch.from_numpy(block).to(device)) for block in blocks], dim=1)
        scores: np.ndarray = torch.sigmoid(logits).cpu().numpy()
        return scores

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        return scores_of_many(self, [log_mel(lead_in(audio, self.config.receptive_samples))])[0]

    def export(self, path: Path) -> int:
        return export_streaming(self, path)

    def stream_shapes(self) -> list[tuple[int, ...]]:
        return [(1, self.config.window_frames - SCORE_STRIDE, self.config.recurrent_input)]

    def stream_logits(self, outputs: Tensor, carried: Carried) -> Tensor:
        encoded = carried.extended(self.to_recurrent(outputs), 1)
        window = self.config.window_frames
        starts = torch.arange(0, encoded.shape[1] - window + 1, SCORE_STRIDE)
        index = starts.unsqueeze(1) + torch.arange(window).unsqueeze(0)
        return self.window_logits(encoded[0][index]).unsqueeze(0)
