"""A TinyCRNN: a small convolutional-recurrent network that maps audio to one logit per 80 ms. It needs only PyTorch.

    python tiny_crnn.py model.pt recording.wav

In a program: ``network, manifest = load("model.pt")``, then ``network.score(audio)`` for a recording, or for a stream
``logits, state = network.stream(audio, state)``, which begins with ``network.beginning()``.
"""

from __future__ import annotations

import math
import sys
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16_000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples of a log-mel frame and between two of them; points of the transform
MELS = 40
POWER_FLOOR = 1e-6  # added to mel power
LOG_MEL_MEAN, LOG_MEL_SCALE = -4.0, 4.0
STEP_FRAMES = 4  # log-mel frames per step: 40 ms
SCORE_STEPS = 2  # steps per logit
CHUNK = HOP * STEP_FRAMES * SCORE_STEPS  # samples per logit: 80 ms
STEM = ((5, 5), (3, 3))  # kernels in time and frequency of the two first convolutions, each with a stride of 2
AUDIO_TAIL = WINDOW - HOP  # samples that the next frame needs
State = list[Tensor]


@dataclass(frozen=True)
class TrunkConfig:
    """The shape of the trunk.

    Attributes:
        stem: channels of the two first convolutions.
        channels: width of the residual blocks.
        kernel: steps that a block's convolution reads; dense, because depthwise ones take five times as long to train.
        dilations: steps between those that a block reads, one per block.
        recurrent: units of the recurrent layer, the width of the output.
    """

    stem: tuple[int, ...] = (16, 32)
    channels: int = 128
    kernel: int = 3
    dilations: tuple[int, ...] = (1, 2, 3, 4, 5)
    recurrent: int = 144


class LogMel(nn.Module):
    """Maps audio [batch, WINDOW + HOP (n - 1)] to log-mel [batch, n, MELS]; its filters come with the weights."""

    window: Tensor
    filterbank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.zeros(WINDOW))
        self.register_buffer("filterbank", torch.zeros(FFT // 2 + 1, MELS))

    def forward(self, audio: Tensor) -> Tensor:
        # The transform centres the window in its points; padding by half the difference aligns the frames.
        margin = (FFT - WINDOW) // 2
        padded = nn.functional.pad(audio, (margin, margin))
        spectrum = torch.stft(padded, FFT, HOP, WINDOW, self.window, center=False, return_complex=False)
        power = spectrum.square().sum(-1).transpose(1, 2)
        return torch.log(power @ self.filterbank + POWER_FLOOR)


class Block(nn.Module):
    """A causal dilated convolution with a residual path: maps [batch, past + steps, channels] to the newest steps."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past, self.dilation = (kernel - 1) * dilation, dilation
        self.taps = nn.Linear(kernel * channels, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1] - self.past
        taps = torch.cat([x[:, at : at + steps] for at in range(0, self.past + 1, self.dilation)], dim=2)
        return x[:, self.past :] + torch.relu(normalized(self.norm, self.taps(taps)))


def normalized(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Apply batch normalization to [batch, steps, channels]."""
    result: Tensor = norm(x.flatten(0, 1)).view(x.shape)
    return result


class Trunk(nn.Module):
    """Maps log-mel frames to the recurrent layer's outputs, one per 40 ms. Every layer is causal."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.stem
        (time1, bands1), (time2, bands2) = STEM
        self.stem1 = nn.Conv2d(1, first, (time1, bands1), 2, (0, bands1 // 2), bias=False)
        self.stem1_norm = nn.BatchNorm2d(first)
        self.stem2 = nn.Conv2d(first, second, (time2, bands2), 2, (0, bands2 // 2), bias=False)
        self.stem2_norm = nn.BatchNorm2d(second)
        self.project = nn.Linear(second * MELS // 4, config.channels, bias=False)
        self.project_norm = nn.BatchNorm1d(config.channels)
        self.blocks = nn.ModuleList(Block(config.channels, config.kernel, d) for d in config.dilations)
        self.recurrent = nn.GRU(config.channels, config.recurrent, batch_first=True)

    def beginning(self, batch: int = 1) -> State:
        """Return the state at the beginning of ``batch`` streams; the last tensor, [1, batch, units], is the GRU's."""
        config = self.config
        shapes = [
            (batch, STEM[0][0] - 2, MELS),
            (batch, config.stem[0], STEM[1][0] - 2, MELS // 2),
            *((batch, (config.kernel - 1) * dilation, config.channels) for dilation in config.dilations),
            (1, batch, config.recurrent),
        ]
        return [self.project.weight.new_zeros(shape) for shape in shapes]

    def forward(self, log_mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Map log-mel [batch, STEP_FRAMES steps, MELS] to outputs [batch, steps, recurrent] and the next state."""
        after: State = []

        def extended(x: Tensor, dim: int) -> Tensor:
            past = state[len(after)]
            joined = torch.cat([past, x], dim)
            after.append(joined.narrow(dim, joined.shape[dim] - past.shape[dim], past.shape[dim]))
            return joined

        x = extended((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE, 1).unsqueeze(1)
        x = extended(torch.relu(self.stem1_norm(self.stem1(x))), 2)
        x = torch.relu(self.stem2_norm(self.stem2(x)))
        x = torch.relu(normalized(self.project_norm, self.project(x.permute(0, 2, 1, 3).flatten(2))))
        for block in self.blocks:
            x = block(extended(x, 1))
        outputs, memory = self.recurrent(x, state[-1])
        return outputs, [*after, memory]


class Network(nn.Module):
    """Log-mel, the trunk, and a head that outputs a logit of the phrase every 80 ms."""

    def __init__(self, trunk: TrunkConfig, hidden: int) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.trunk = Trunk(trunk)
        self.head = nn.Sequential(nn.Linear(trunk.recurrent, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def logits(self, log_mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Map log-mel [batch, 8 n, MELS] to logits [batch, n] and the trunk's next state."""
        outputs, state = self.trunk(log_mel, state)
        logits: Tensor = self.head(outputs[:, SCORE_STEPS - 1 :: SCORE_STEPS])[:, :, 0]
        return logits, state

    def beginning(self, batch: int = 1) -> State:
        """Return the state at the beginning of ``batch`` streams."""
        return [self.trunk.project.weight.new_zeros(batch, AUDIO_TAIL), *self.trunk.beginning(batch)]

    def stream(self, audio: Tensor, state: State) -> tuple[Tensor, State]:
        """Map the next audio [batch, CHUNK n], from -1 to 1 at 16 kHz, to logits [batch, n] and the next state."""
        heard = torch.cat([state[0], audio], 1)
        logits, after = self.logits(self.log_mel(heard), state[1:])
        return logits, [heard[:, heard.shape[1] - AUDIO_TAIL :], *after]

    @torch.no_grad()
    def score(self, audio: Tensor, silence_s: float = 3.04) -> Tensor:
        """Return scores from 0 to 1 [samples / CHUNK] of a recording [samples] that follows silence."""
        self.eval()
        chunks = len(audio) // CHUNK
        _, state = self.stream(audio.new_zeros(1, math.ceil(silence_s * SAMPLE_RATE / CHUNK) * CHUNK), self.beginning())
        return torch.sigmoid(self.stream(audio[None, : chunks * CHUNK], state)[0][0])


def load(path: str) -> tuple[Network, dict[str, Any]]:
    """Return the network of a bundle's ``model.pt``, and its manifest with the phrase and the thresholds."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    config = content["config"]
    network = Network(TrunkConfig(**config["trunk"]), config["hidden"])
    network.load_state_dict(content["weights"])
    return network.eval(), content.get("manifest", {})


def detections(scores: Sequence[float], threshold: float, averaged: int = 2, quiet_s: float = 2.5) -> Iterator[float]:
    """Yield the times [s] at which the mean of the last scores reaches the threshold; after each, ``quiet_s`` pass."""
    quiet_until = 0.0
    for end in range(averaged, len(scores) + 1):
        time_s = end * CHUNK / SAMPLE_RATE
        if time_s >= quiet_until and sum(scores[end - averaged : end]) >= averaged * threshold:
            quiet_until = time_s + quiet_s
            yield time_s


def main() -> None:
    """Print the times at which a recording contains the phrase."""
    if len(sys.argv) != 3:
        sys.exit("usage: python tiny_crnn.py model.pt recording.wav")
    network, manifest = load(sys.argv[1])
    with wave.open(sys.argv[2], "rb") as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            sys.exit("The recording must be a WAV file with one channel of 16-bit samples at 16 kHz.")
        samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
    wanted = manifest["default_fa_per_day"]
    threshold = next(row["threshold"] for row in manifest["thresholds"] if row["fa_per_day"] == wanted)
    scores = network.score(samples / 32_768).tolist()
    for time_s in detections(scores, threshold, manifest["smoothing_frames"], manifest["refractory_s"]):
        sys.stdout.write(f"{time_s:.2f} s: {manifest['phrase']}\n")


if __name__ == "__main__":
    main()
