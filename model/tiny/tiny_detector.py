"""TinyCRNN as a detector that a run trains: the shipped trunk, and a head that learns the phrase with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from model.detector import DetectorConfig, TrainedDetector
from model.export import Carried, write_streaming
from model.feature_augmentation import augment_features
from model.features import CHUNK_FRAMES, MELS, SAMPLE_RATE, StoredFrames, hann_window, mel_filterbank
from model.front_end import FrontEnd
from model.tiny.tiny_crnn import Network, TrunkConfig
from model.tiny.trunk import CrnnTrunk, shipped_trunk

WINDOW_FRAMES = 304  # log-mel frames of a training window: 3 s
CARRIED = 0.5  # fraction of the training windows that begin with a state of the recurrent layer from other audio
BLOCK_FRAMES = 6_000  # log-mel frames computed together: a minute


@dataclass(frozen=True)
class TinyCRNNConfig(DetectorConfig):
    """The shape of the network.

    Attributes:
        hidden: hidden units of the head.
    """

    kind = "tiny-crnn"
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    hidden: int = 48

    @property
    def stored(self) -> StoredFrames:
        return StoredFrames(MELS, 1, WINDOW_FRAMES, CHUNK_FRAMES, 1)


class TinyCRNN(Network, TrainedDetector):
    """A convolutional-recurrent network on log-mel, which carries its state through a stream."""

    title = "A TinyCRNN, pretrained on people's speech,"
    batch_frames = 160_000
    quantizes = True
    front_end_id = "log-mel"
    on_gpu = True
    end_jitter = (8, 28)
    config: TinyCRNNConfig

    def __init__(self, config: TinyCRNNConfig) -> None:
        super().__init__(config.trunk, config.hidden)
        self.config = config
        self.log_mel.window.copy_(torch.from_numpy(hann_window()))
        self.log_mel.filterbank.copy_(torch.from_numpy(mel_filterbank()))
        self._memory: Tensor | None = None  # states of the recurrent layer at the ends of the last training windows

    @classmethod
    def of_trunk(cls, trunk: CrnnTrunk) -> Self:
        """Return a detector with an untrained head on a trunk."""
        detector = cls(TinyCRNNConfig(trunk.config))
        detector.trunk.load_state_dict(trunk.state_dict())
        return detector.eval()

    def forward(self, stored: Tensor) -> Tensor:
        """Map log-mel [batch, window + 8 (n - 1), MELS] to logits [batch, n].

        A stream lasts for days, so in training some windows begin with the recurrent layer's state after other windows.
        """
        state = self.trunk.beginning(len(stored))
        if self.training and self._memory is not None and self._memory.shape == state[-1].shape:
            chosen = torch.rand(len(stored), 1, device=stored.device) < CARRIED
            state[-1] = self._memory[:, torch.randperm(len(stored), device=stored.device)] * chosen
        logits, state = self.logits(stored[:, : stored.shape[1] // CHUNK_FRAMES * CHUNK_FRAMES], state)
        if self.training:
            self._memory = state[-1].detach().float()
        return logits[:, WINDOW_FRAMES // CHUNK_FRAMES - 1 :]

    def augmented(self, windows: Tensor, rng: np.random.Generator) -> Tensor:
        return augment_features(windows, rng)

    def front_end(self, folder: Path) -> FrontEnd:
        return FrontEnd(self.config.stored)

    @torch.no_grad()
    def scores(self, stored: np.ndarray) -> np.ndarray:
        """Return scores [batch, n] of log-mel [batch, window + 8 (n - 1), MELS]; each begins a stream."""
        self.eval()
        state = self.trunk.beginning(len(stored))
        device = state[0].device
        parts = []
        for first in range(0, stored.shape[1] // CHUNK_FRAMES * CHUNK_FRAMES, BLOCK_FRAMES):
            block = stored[:, first : first + BLOCK_FRAMES]
            whole = block[:, : block.shape[1] // CHUNK_FRAMES * CHUNK_FRAMES]
            logits, state = self.logits(torch.from_numpy(whole).to(device), state)
            parts.append(logits)
        scores: np.ndarray = torch.sigmoid(torch.cat(parts, 1)[:, WINDOW_FRAMES // CHUNK_FRAMES - 1 :]).cpu().numpy()
        return scores

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        silence_s = self.config.receptive_samples / SAMPLE_RATE
        scores: np.ndarray = self.score(torch.from_numpy(np.asarray(audio, np.float32)), silence_s).numpy()
        return scores

    def foundation(self) -> dict[str, Any]:
        return {"backbone": shipped_trunk()[1]}

    def export(self, path: Path) -> int:
        streaming = _Streaming(self)
        write_streaming(streaming, streaming.state_size, path)
        return streaming.state_size


class _Streaming(nn.Module):
    """The network, its state as one vector: audio [1, 1280 n] and state [1, size] to scores [1, n] and new state."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.shapes = [part.shape for part in network.beginning()]
        self.state_size = sum(math.prod(shape) for shape in self.shapes)
        self.eval()

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        carried = Carried(state, self.shapes)
        logits, after = self.network.stream(audio, carried.before)
        for part in after:
            carried.keep(part)
        return torch.sigmoid(logits), carried.state()
