"""The backbone that ``lab/weights/train.py`` trains, on Google's public speech embedding.

The embedding's convolutions were trained on far more speakers than Hark has; a causal network of Hark's own maps their
outputs to phones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.features import HOP, WINDOW
from model.phones import PHONE_OUTPUTS
from model.plain import from_plain
from model.weights import SHIPPED, StoredNetwork, load_weights

BACKBONE = "backbone-standard.safetensors"
MEL_FFT = 512  # points of the embedding's FFT
MEL_WINDOW = 400  # samples of the embedding's Hann window
MEL_BANDS = 32
MEL_TAIL = MEL_FFT - HOP  # samples that the next chunk's first frame needs
FULL_SCALE = 32767.0  # the embedding takes 16-bit samples
POWER_FLOOR = 1e-10
# The embedding's convolutions without the last two: channels, and kernel size in frames and bands.
CONVOLUTIONS = (
    (24, (3, 3)), (24, (1, 3)), (24, (3, 1)),
    *((48, (1, 3)), (48, (3, 1))) * 2,
    *((72, (1, 3)), (72, (3, 1))) * 2,
    *((96, (1, 3)), (96, (3, 1))) * 3, (96, (1, 3)),
)  # fmt: skip
# Pool sizes in time and frequency, by the number of preceding convolutions.
POOLS = {3: (2, 2), 7: (1, 2), 11: (2, 2), 15: (1, 2)}
MIDDLE = 14  # the output after this many convolutions is used in addition to the last
SLOPE, FLOOR = 0.2, -0.4  # slope of the leaky ReLU, and its minimum
FRAMES_AT_ONCE = 2  # frames of 20 ms per step of 40 ms
STEP_FRAMES = 4  # mel frames per step
CONVOLVED_FRAMES = 48  # mel frames that one step of the convolutions depends on


class Past(Protocol):
    """State that a stream carries from chunk to chunk (:class:`model.export.Carried`)."""

    def extended(self, x: Tensor, dim: int) -> Tensor:
        """Prepend the stored past to ``x``, and store as many of the newest values."""
        ...


@dataclass(frozen=True)
class EmbeddingBackboneConfig:
    """The shape of the layers on top of the embedding; stored in every checkpoint.

    Attributes:
        states: whether each output frame also holds, after the phones, half of its step's last states.
    """

    channels: int = 144
    kernel: int = 3  # steps of 40 ms
    dilations: tuple[int, ...] = (1, 2, 3, 4)  # one per residual block
    phones: int = PHONE_OUTPUTS
    temperature: float = 1.25  # divisor of the logits; values above 1 flatten the probabilities
    states: bool = False
    kind: str = "embedding"

    @property
    def width(self) -> int:
        return self.phones + (self.channels // FRAMES_AT_ONCE if self.states else 0)

    @property
    def receptive_mel_frames(self) -> int:
        """Number of the embedding's mel frames that the first output frames depend on."""
        return CONVOLVED_FRAMES + STEP_FRAMES * (self.kernel - 1) * sum(self.dilations)

    @property
    def receptive_frames(self) -> int:
        return self.receptive_mel_frames + -(-(MEL_FFT - WINDOW) // HOP)


class EmbeddingBlock(nn.Module):
    """A causal dilated convolution with a residual path: [batch, steps, channels] to fewer steps."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.context = (kernel - 1) * dilation
        self.dilation = dilation
        self.lin = nn.Linear(kernel * channels, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1] - self.context
        taps = torch.cat([x[:, at : at + steps] for at in range(0, self.context + 1, self.dilation)], dim=2)
        y = self.norm(self.lin(taps).transpose(1, 2)).transpose(1, 2)
        return x[:, self.context :] + torch.relu(y)


class EmbeddingBackbone(StoredNetwork):
    """Maps audio to square roots of phone probabilities, one frame per 20 ms, without padding."""

    window: Tensor
    filterbank: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: EmbeddingBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(MEL_WINDOW), persistent=False)
        self.register_buffer("filterbank", torch.zeros(MEL_FFT // 2 + 1, MEL_BANDS))
        inputs = [1, *(channels for channels, _ in CONVOLUTIONS)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=(0, kernel[1] // 2))
            for before, (after, kernel) in zip(inputs, CONVOLUTIONS)
        )
        width = 4 * CONVOLUTIONS[-1][0]
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.inp = nn.Linear(width, config.channels, bias=False)
        self.norm = nn.BatchNorm1d(config.channels)
        self.blocks = nn.ModuleList(EmbeddingBlock(config.channels, config.kernel, d) for d in config.dilations)
        self.out = nn.Linear(config.channels, FRAMES_AT_ONCE * config.phones)

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        return cls(from_plain(EmbeddingBackboneConfig, values))

    def mel(self, audio: Tensor) -> Tensor:
        """Map audio [batch, samples] to log mel power [batch, frames, MEL_BANDS]: log10 + 2, as in openWakeWord."""
        spectrum = torch.stft(
            audio * FULL_SCALE, MEL_FFT, HOP, MEL_WINDOW, self.window, center=False, return_complex=False
        )
        power = spectrum.square().sum(-1).transpose(1, 2) @ self.filterbank
        return power.clamp(min=POWER_FLOOR).log10() + 2.0

    def convolved(self, mel: Tensor, past: Past | None = None) -> Tensor:
        """Map [batch, frames, MEL_BANDS] to the convolutions' outputs [batch, steps of 40 ms, width]."""
        x, middle = mel.unsqueeze(1), mel
        for number, convolution in enumerate(self.convs, 1):
            if past is not None and CONVOLUTIONS[number - 1][1][0] > 1:
                x = past.extended(x, 2)
            x = functional.leaky_relu(convolution(x), SLOPE).clamp(min=FLOOR)
            if number == MIDDLE:
                middle = functional.max_pool2d(x, (1, 2))
            if number in POOLS:
                x = functional.max_pool2d(x, POOLS[number])
        if past is None:
            middle = middle[:, :, middle.shape[2] - x.shape[2] :]
        both = [part.permute(0, 2, 3, 1).flatten(2) for part in (middle, x)]
        return torch.cat(both, dim=2)

    def states(self, convolved: Tensor, past: Past | None = None) -> Tensor:
        """Map the convolutions' outputs to the last layer's states [batch, steps of 40 ms, channels]."""
        x = self.inp((convolved - self.mean) / self.std)
        x = torch.relu(self.norm(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x if past is None else past.extended(x, 1))
        return x

    def logits(self, states: Tensor) -> Tensor:
        """Map states to logits over blank and phones [batch, frames of 20 ms, phones]."""
        y = self.out(states)
        return y.reshape(y.shape[0], -1, self.config.phones)

    def forward(self, mel: Tensor) -> Tensor:
        """Map mel frames [batch, frames, MEL_BANDS] to logits over blank and phones [batch, time, phones]."""
        return self.logits(self.states(self.convolved(mel)))

    def encode(self, audio: Tensor, past: Past | None = None) -> Tensor:
        """Map audio [batch, samples] to square roots of phone probabilities [batch, frames of 20 ms, width].

        The states follow the phones if the configuration has ``states``. With a ``past`` (state with the shapes of
        :meth:`stream_shapes`), audio and output consist of whole 80 ms chunks.
        """
        if past is not None:
            audio = past.extended(audio, 1)
        states = self.states(self.convolved(self.mel(audio), past), past)
        phones = torch.softmax(self.logits(states) / self.config.temperature, dim=2).sqrt()
        if not self.config.states:
            return phones
        return torch.cat([phones, states.reshape(*phones.shape[:2], -1)], dim=2)

    def stream_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the state carried from chunk to chunk, in order of use."""
        shapes: list[tuple[int, ...]] = [(1, MEL_TAIL)]
        channels, bands = 1, MEL_BANDS
        for number, (after, kernel) in enumerate(CONVOLUTIONS, 1):
            if kernel[0] > 1:
                shapes.append((1, channels, kernel[0] - 1, bands))
            channels, bands = after, bands // POOLS.get(number, (1, 1))[1]
        return shapes + [(1, (self.config.kernel - 1) * d, self.config.channels) for d in self.config.dilations]


def shipped_backbone() -> tuple[EmbeddingBackbone, dict[str, Any]]:
    """Load the backbone of standard detectors, and its ``about``. Raises HarkError if it is missing or damaged."""
    return load_weights(SHIPPED / BACKBONE, EmbeddingBackbone)
