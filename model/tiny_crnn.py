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
from torch.nn import functional

from model.detector import DetectorConfig, TrainedDetector, scores_of_many
from model.export import Carried, export_streaming
from model.feature_augmentation import augment_features
from model.features import (
    CHUNK_FRAMES,
    FFT,
    FRAME_STRIDE,
    HOP,
    LOG_MEL_MEAN,
    LOG_MEL_SCALE,
    MELS,
    POWER_FLOOR,
    WINDOW,
    StoredFrames,
    hann_window,
    lead_in,
    log_mel,
    mel_filterbank,
)
from model.front_end import FrontEnd

STEM_KERNELS = (5, 3)  # log-mel frames; the first convolution has the stride FRAME_STRIDE
AUDIO_TAIL = WINDOW - HOP  # samples that the next chunk's first frame needs
BRIDGE_STRIDE = 2  # the recurrent layer runs at 40 ms per step
SCORE_STRIDE = CHUNK_FRAMES // FRAME_STRIDE // BRIDGE_STRIDE  # recurrent steps per score
BLOCK_SCORES = 750  # scores computed together: a minute


class LogMel(nn.Module):
    """The log-mel of model/features.py as a graph: audio [1, samples] to log-mel [1, frames, MELS]."""

    window: Tensor
    filterbank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.from_numpy(hann_window()), persistent=False)
        self.register_buffer("filterbank", torch.from_numpy(mel_filterbank()), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        # STFT centres the 400-sample window in its 512 points; padding by half the difference aligns the frames.
        margin = (FFT - WINDOW) // 2
        padded = functional.pad(audio, (margin, margin))
        spectrum = torch.stft(padded, FFT, HOP, WINDOW, self.window, center=False, return_complex=False)
        power = spectrum.square().sum(-1).transpose(1, 2)
        return torch.log(power @ self.filterbank + POWER_FLOOR)


@dataclass(frozen=True)
class BackboneConfig:
    """The shape of the convolutional layers; stored in every checkpoint."""

    stem_channels: tuple[int, int] = (16, 24)
    channels: int = 96
    kernel: int = 3  # frames of 20 ms
    dilations: tuple[int, ...] = (1, 2, 4)  # one per residual block

    @property
    def context(self) -> int:
        """Frames of 20 ms that the residual blocks look back."""
        return sum((self.kernel - 1) * dilation for dilation in self.dilations)

    @property
    def receptive_frames(self) -> int:
        """Log-mel frames that one output frame depends on."""
        return FRAME_STRIDE * (self.context + STEM_KERNELS[1] - 1) + STEM_KERNELS[0]


class BackboneBlock(nn.Module):
    """A causal depthwise-separable convolution with a residual path; the time of [batch, channels, time] shrinks."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.context = (kernel - 1) * dilation
        self.depthwise = nn.Conv1d(channels, channels, kernel, dilation=dilation, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm1d(channels)
        self.pointwise = nn.Conv1d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.depthwise(x)))
        return torch.relu(self.norm2(self.pointwise(y)) + x[..., self.context :])


class Backbone(nn.Module):
    """Convolutional stem and residual blocks: maps log-mel frames to one output frame per 20 ms."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.stem_channels
        channels = config.channels
        self.stem1 = nn.Conv2d(1, first, (STEM_KERNELS[0], 5), stride=(FRAME_STRIDE, 2), padding=(0, 2), bias=False)
        self.stem1_norm = nn.BatchNorm2d(first)
        self.stem2 = nn.Conv2d(first, second, (STEM_KERNELS[1], 3), stride=(1, 2), padding=(0, 1), bias=False)
        self.stem2_norm = nn.BatchNorm2d(second)
        # Frequency is not pooled: all bands of all channels are passed on.
        self.stem_out = nn.Conv1d(second * (MELS // 4), channels, 1, bias=False)
        self.stem_out_norm = nn.BatchNorm1d(channels)
        self.blocks = nn.ModuleList(BackboneBlock(channels, config.kernel, d) for d in config.dilations)
        self.log_mel = LogMel()

    def stem_first(self, log_mel: Tensor) -> Tensor:
        """Map log-mel [batch, frames, MELS] to [batch, channels, frames / 2, MELS / 2]."""
        x = (log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE
        return torch.relu(self.stem1_norm(self.stem1(x.unsqueeze(1))))

    def stem_second(self, x: Tensor) -> Tensor:
        """Map the first stage's output to [batch, channels, time at 20 ms]."""
        y = torch.relu(self.stem2_norm(self.stem2(x)))
        flat = y.permute(0, 1, 3, 2).flatten(1, 2)  # [batch, channels * bands, time]
        return torch.relu(self.stem_out_norm(self.stem_out(flat)))

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log-mel [batch, receptive_frames + 2 (n - 1), MELS] to output frames [batch, n, channels]."""
        x = self.stem_second(self.stem_first(log_mel))
        for block in self.blocks:
            x = block(x)
        return x.transpose(1, 2)

    def encode(self, audio: Tensor, past: Carried) -> Tensor:
        """Map audio [batch, samples] of whole 80 ms chunks to output frames [batch, time at 20 ms, channels].

        ``past`` is the state of the stream before the audio, with the shapes of :meth:`stream_shapes`.
        """
        x = self.stem_first(past.extended(self.log_mel(past.extended(audio, 1)), 1))
        x = self.stem_second(past.extended(x, 2))
        for block in self.blocks:
            x = block(past.extended(x, 2))
        return x.transpose(1, 2)

    def stream_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the state carried from chunk to chunk, in order of use."""
        config = self.config
        return [
            (1, AUDIO_TAIL),
            (1, STEM_KERNELS[0] - FRAME_STRIDE, MELS),
            (1, config.stem_channels[0], STEM_KERNELS[1] - 1, MELS // 2),
            *((1, config.channels, (config.kernel - 1) * d) for d in config.dilations),
        ]


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
        frames = self.backbone.receptive_frames + FRAME_STRIDE * (self.window_frames * BRIDGE_STRIDE - 1)
        return StoredFrames(MELS, 1, frames, CHUNK_FRAMES, 1)


class TinyCRNN(TrainedDetector):
    """A backbone of its own, with a recurrent layer and an MLP head."""

    title = "A TinyCRNN"
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
