"""The convolutional layers of a detector trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.features import FFT, HOP, LOG_MEL_MEAN, LOG_MEL_SCALE, MELS, POWER_FLOOR, WINDOW, hann_window, mel_filterbank

STEM_KERNELS = (5, 3)  # log-mel frames; the first convolution halves the frame rate to 20 ms
STEM_STRIDE = 2
AUDIO_TAIL = WINDOW - HOP  # samples that the next chunk's first frame needs


class Past(Protocol):
    """State that a stream carries from chunk to chunk (:class:`model.export.Carried`)."""

    def extended(self, x: Tensor, dim: int) -> Tensor:
        """Prepend the stored past to ``x``, and store as many of the newest values."""
        ...


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
        return STEM_STRIDE * (self.context + STEM_KERNELS[1] - 1) + STEM_KERNELS[0]


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
        self.stem1 = nn.Conv2d(1, first, (STEM_KERNELS[0], 5), stride=(STEM_STRIDE, 2), padding=(0, 2), bias=False)
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

    def encode(self, audio: Tensor, past: Past) -> Tensor:
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
            (1, STEM_KERNELS[0] - STEM_STRIDE, MELS),
            (1, config.stem_channels[0], STEM_KERNELS[1] - 1, MELS // 2),
            *((1, config.channels, (config.kernel - 1) * d) for d in config.dilations),
        ]
