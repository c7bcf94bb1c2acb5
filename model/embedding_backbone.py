"""What ``lab/weights/train.py`` makes: the convolutions of Google's public speech embedding, which have
heard far more people than Hark could, and on them a causal network of Hark's own that writes phones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.backbone import Past
from model.features import HOP, WINDOW
from model.phones import PHONE_OUTPUTS

MEL_FFT = 512  # points of the embedding's spectra
MEL_WINDOW = 400  # samples of their Hann window
MEL_BANDS = 32
MEL_TAIL = MEL_FFT - HOP  # samples that the next chunk's first frame still needs
FULL_SCALE = 32767.0  # it hears 16-bit samples
POWER_FLOOR = 1e-10
# The embedding's convolutions without its last two: channels, and frames and bands that each covers.
CONVOLUTIONS = (
    (24, (3, 3)), (24, (1, 3)), (24, (3, 1)),
    *((48, (1, 3)), (48, (3, 1))) * 2,
    *((72, (1, 3)), (72, (3, 1))) * 2,
    *((96, (1, 3)), (96, (3, 1))) * 3, (96, (1, 3)),
)  # fmt: skip
POOLS = {3: (2, 2), 7: (1, 2), 11: (2, 2), 15: (1, 2)}  # after that many convolutions: of time and frequency
MIDDLE = 14  # convolutions after which frames go on beside those after all
SLOPE, FLOOR = 0.2, -0.4  # of the leaky ReLU, and its lowest value
FRAMES_AT_ONCE = 2  # frames of 20 ms that one step of 40 ms writes
STEP_FRAMES = 4  # mel frames of a step
CONVOLVED_FRAMES = 48  # mel frames that one step of the convolutions depends on


@dataclass(frozen=True)
class EmbeddingBackboneConfig:
    """The shape of the layers on the embedding's; it travels inside every checkpoint.

    Attributes:
        states: each output frame holds half of its step's last states behind the phones.
    """

    channels: int = 144
    kernel: int = 3  # steps of 40 ms
    dilations: tuple[int, ...] = (1, 2, 3, 4)  # one residual block each
    phones: int = PHONE_OUTPUTS
    temperature: float = 1.25  # of what is heard: above 1, probabilities are evened out
    states: bool = False
    kind: str = "embedding"

    @property
    def width(self) -> int:
        return self.phones + (self.channels // FRAMES_AT_ONCE if self.states else 0)

    @property
    def at_once(self) -> int:
        return FRAMES_AT_ONCE

    @property
    def receptive_mel_frames(self) -> int:
        """The embedding's mel frames that the first output frames depend on."""
        return CONVOLVED_FRAMES + STEP_FRAMES * (self.kernel - 1) * sum(self.dilations)

    @property
    def receptive_frames(self) -> int:
        """Log-mel frames (:mod:`model.features`) that the first output frames depend on."""
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
        heard = torch.cat([x[:, at : at + steps] for at in range(0, self.context + 1, self.dilation)], dim=2)
        y = self.norm(self.lin(heard).transpose(1, 2)).transpose(1, 2)
        return x[:, self.context :] + torch.relu(y)


class EmbeddingBackbone(nn.Module):
    """Audio to square roots of phone probabilities, every 20 ms. Nothing is padded."""

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

    def mel(self, audio: Tensor) -> Tensor:
        """Audio [batch, samples] to decibels of mel power [batch, frames, MEL_BANDS], a tenth of them plus 2, as
        openWakeWord has them."""
        spectrum = torch.stft(
            audio * FULL_SCALE, MEL_FFT, HOP, MEL_WINDOW, self.window, center=False, return_complex=False
        )
        power = spectrum.square().sum(-1).transpose(1, 2) @ self.filterbank
        return power.clamp(min=POWER_FLOOR).log10() + 2.0

    def convolved(self, mel: Tensor, past: Past | None = None) -> Tensor:
        """[batch, frames, MEL_BANDS] to what the convolutions make of it [batch, steps of 40 ms, width]."""
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
        """What the convolutions gave, to the last layer's states [batch, steps of 40 ms, channels]."""
        x = self.inp((convolved - self.mean) / self.std)
        x = torch.relu(self.norm(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x if past is None else past.extended(x, 1))
        return x

    def logits(self, states: Tensor) -> Tensor:
        """States to logits over blank and phones [batch, frames of 20 ms, phones]."""
        y = self.out(states)
        return y.reshape(y.shape[0], -1, self.config.phones)

    def forward(self, mel: Tensor) -> Tensor:
        """Mel frames [batch, frames, MEL_BANDS] to logits over blank and phones [batch, frames of 20 ms, phones]."""
        return self.logits(self.states(self.convolved(mel)))

    def hear(self, audio: Tensor, past: Past | None = None) -> Tensor:
        """Audio [batch, samples] to square roots of phone probabilities, and the states where the configuration says
        so [batch, frames of 20 ms, width].

        With a ``past``, which holds what :meth:`stream_shapes` names, audio is whole chunks of 80 ms, and so is what
        comes out.
        """
        if past is not None:
            audio = past.extended(audio, 1)
        states = self.states(self.convolved(self.mel(audio), past), past)
        phones = torch.softmax(self.logits(states) / self.config.temperature, dim=2).sqrt()
        if not self.config.states:
            return phones
        return torch.cat([phones, states.reshape(*phones.shape[:2], -1)], dim=2)

    def stream_shapes(self) -> list[tuple[int, ...]]:
        """What is carried from chunk to chunk, in the order of its use."""
        shapes: list[tuple[int, ...]] = [(1, MEL_TAIL)]
        channels, bands = 1, MEL_BANDS
        for number, (after, kernel) in enumerate(CONVOLUTIONS, 1):
            if kernel[0] > 1:
                shapes.append((1, channels, kernel[0] - 1, bands))
            channels, bands = after, bands // POOLS.get(number, (1, 1))[1]
        return shapes + [(1, (self.config.kernel - 1) * d, self.config.channels) for d in self.config.dilations]
