"""TinyCRNN, the whole detector in one file: log-mel frames in, one logit a window out.

Every layer is causal and uses no padding. On a trunk that hears phones, what is recurrent is a :class:`Matcher`, a
keyphrase HMM that forgets; else it is a GRU that starts from zero in every window, and a logit is a function of exactly
``receptive_frames`` log-mel frames. Training on cropped windows and running as a stream compute the same number, and
nothing that was said long before can change it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoder_trunk import STATE_FRAMES, STATES_BEFORE
from model.features import HOP, LOG_MEL_MEAN, LOG_MEL_SCALE, MELS, WINDOW, StoredFrames
from model.matcher import MATCH_FLOOR, Matcher

STEM_KERNELS = (5, 3)  # log-mel frames; the first convolution halves the frame rate to 20 ms
STEM_STRIDE = 2
BRIDGE_STRIDE = 2  # the recurrent layer runs at 40 ms
SCORE_STRIDE = 2  # recurrent frames a score: one logit every 80 ms
CHUNK_FRAMES = STEM_STRIDE * BRIDGE_STRIDE * SCORE_STRIDE  # 8 log-mel frames
CHUNK_SAMPLES = CHUNK_FRAMES * HOP  # 1,280 samples, 80 ms
ENCODER_MATCH_FLOOR = -5.0  # the same on an encoder, which is surer of what it hears, and of what it does not
MATCH_POOL = 10  # the best score of the last 200 ms counts
DECOY_SLOPE = 4.0  # match score lost for each unit by which a decoy is heard better than the margin allows
ENCODER_HOP = 7_680  # samples between two windows of a stream through an encoder: 480 ms
ENCODER_BEFORE = 8_000  # samples that an encoder hears before the phrase
ENCODER_LEAST = 46_080  # samples of the shortest window, 2.88 s: in noise, an encoder hears worse in 2.4
ENCODER_POOL = 48  # the best score of a window's last 960 ms counts: what is new in it, and as much heard once more
RESCORED_WEIGHT = 4.0  # match score that a phrase gains of which the decoder is certain (model.rescoring)
MATCH_SLOPE = 2.0  # the steepest line of a detector that rescores: from no to full rescoring is 8 logits
MATCH_WEIGHT, MATCH_BIAS = 5.0, 6.0  # at first: a score of -1.2 is a logit of 0


@dataclass(frozen=True)
class TrunkConfig:
    """The shape of the lower layers; it travels inside every checkpoint."""

    stem_channels: tuple[int, int] = (16, 24)
    channels: int = 96
    kernel: int = 3  # frames of 20 ms
    dilations: tuple[int, ...] = (1, 2, 4)  # one residual block each
    phones: int = 0  # outputs of the phonetic bottleneck; 0: the head hears the last block itself
    temperature: float = 1.0  # of the bottleneck: above 1, probabilities are evened out
    encoder: str = ""  # the speech encoder that hears in the trunk's place (model.encoder); the rest is nothing then

    @property
    def context(self) -> int:
        """Frames of 20 ms that the residual blocks look back."""
        return sum((self.kernel - 1) * dilation for dilation in self.dilations)

    @property
    def width(self) -> int:
        """Numbers a frame that the head hears."""
        return self.phones or self.channels

    @property
    def receptive_frames(self) -> int:
        """Log-mel frames that one frame of the trunk depends on; of an encoder, those that its frame lies on."""
        if self.encoder:
            return STEM_STRIDE
        return STEM_STRIDE * (self.context + STEM_KERNELS[1] - 1) + STEM_KERNELS[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for checkpoints that load with ``weights_only=True``."""
        return _plain(asdict(self))

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TrunkConfig:
        """The inverse of :meth:`as_dict`."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return TrunkConfig(**plain)


@dataclass(frozen=True)
class TinyCRNNConfig:
    """The shape of a detector; it travels inside every checkpoint."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    recurrent_input: int = 48
    recurrent_size: int = 64
    window_frames: int = 40  # frames of 40 ms that the recurrent layer hears: 1.6 s
    pool_frames: int = 5  # the logit is a soft maximum over this many last frames: 200 ms
    dropout: float = 0.1
    pronunciations: tuple[tuple[int, ...], ...] = ()  # of the phrase, as outputs of the trunk: what the matcher follows
    decoys: tuple[tuple[int, ...], ...] = ()  # likewise of what was taken for it and is not it: false alarms
    decoy_margin: float = 0.0  # match score by which a decoy must be heard better than the phrase to count
    # Of the phrase, as tokens of a decoder that is asked for it where it matches (model.rescoring); none: nobody is.
    spellings: tuple[tuple[int, ...], ...] = ()
    rescore_above: float = 0.0  # that much

    @staticmethod
    def of_size(
        size: str,
        window_s: float,
        trunk: TrunkConfig | None = None,
        pronunciations: tuple[tuple[int, ...], ...] = (),
    ) -> TinyCRNNConfig:
        """The size dial: ``standard``, ``micro`` or ``large``, for phrases that fit into ``window_s`` seconds.

        Args:
            trunk: of a trunk that was trained before; None for one that is trained with the phrase, from nothing.
        """
        frames = max(12, round(window_s / 0.04))
        if size == "micro":
            small = trunk or TrunkConfig(stem_channels=(8, 8), channels=32)
            return TinyCRNNConfig(
                small, recurrent_input=24, recurrent_size=24, window_frames=frames, pronunciations=pronunciations
            )
        if size == "large" and trunk is None:
            raise ValueError("a large detector stands on an encoder")
        if size in ("standard", "large"):
            return TinyCRNNConfig(trunk or TrunkConfig(), window_frames=frames, pronunciations=pronunciations)
        raise ValueError(f"no such size: {size}")

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TinyCRNNConfig:
        """The inverse of :meth:`as_dict` (lists become tuples again)."""
        phones = {
            name: tuple(tuple(way) for way in values.get(name, ()))
            for name in ("pronunciations", "decoys", "spellings")
        }  # older checkpoints do not have all
        return TinyCRNNConfig(**{**values, "trunk": TrunkConfig.from_dict(values["trunk"]), **phones})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for checkpoints that load with ``weights_only=True``."""
        return _plain(asdict(self))

    @property
    def stored(self) -> StoredFrames:
        """How examples are stored. A trunk with a bottleneck was trained before and is not changed: its outputs are."""
        if self.trunk.phones:
            return StoredFrames(
                self.trunk.width + bool(self.spellings),  # the last column says how frames were rescored
                STEM_STRIDE,
                self.head_frames,
                CHUNK_FRAMES // STEM_STRIDE,
                self.trunk.receptive_frames,
            )
        return StoredFrames(MELS, 1, self.receptive_frames, CHUNK_FRAMES, 1)

    @property
    def head_frames(self) -> int:
        """Trunk frames of 20 ms that the recurrent layer hears: what training windows hold."""
        return self.window_frames * BRIDGE_STRIDE

    @property
    def states_before(self) -> int:
        """States of an encoder that a decoder reads before the end of a match: the whole phrase, slowly said."""
        return max(STATES_BEFORE, self.head_frames // STATE_FRAMES)

    @property
    def window_samples(self) -> int:
        """What a stream hears at once through an encoder: the phrase, what was before it, and a hop of the window."""
        needed = self.head_frames * STEM_STRIDE * HOP + ENCODER_BEFORE + ENCODER_HOP
        return max(ENCODER_LEAST, -(-needed // ENCODER_HOP) * ENCODER_HOP)

    @property
    def receptive_frames(self) -> int:
        """Log-mel frames that one logit depends on (the matcher alone may remember more, see :class:`Matcher`)."""
        if self.trunk.encoder:
            return self.head_frames * STEM_STRIDE + ENCODER_BEFORE // HOP
        return self.trunk.receptive_frames + STEM_STRIDE * (self.head_frames - 1)

    @property
    def receptive_samples(self) -> int:
        """Audio samples that one logit depends on."""
        return (self.receptive_frames - 1) * HOP + WINDOW

    @property
    def stream_samples(self) -> int:
        """Samples of a stream after which nothing before them matters: those of one logit, or a window and a hop."""
        return self.window_samples + ENCODER_HOP if self.trunk.encoder else self.receptive_samples


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return _plain(value)
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {key: plain(value) for key, value in values.items()}


class TrunkBlock(nn.Module):
    """A causal depthwise-separable convolution with a residual path: [batch, channels, time] to a shorter time."""

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


class Trunk(nn.Module):
    """Convolutional stem and residual blocks: what a detector's head hears, one frame every 20 ms.

    Where an encoder hears in its place (``config.encoder``), it is empty: see :class:`model.encoder.EncoderTrunk`.
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.phones: nn.Conv1d | None = None
        if config.encoder:
            return
        first, second = config.stem_channels
        channels = config.channels
        self.stem1 = nn.Conv2d(1, first, (STEM_KERNELS[0], 5), stride=(STEM_STRIDE, 2), padding=(0, 2), bias=False)
        self.stem1_norm = nn.BatchNorm2d(first)
        self.stem2 = nn.Conv2d(first, second, (STEM_KERNELS[1], 3), stride=(1, 2), padding=(0, 1), bias=False)
        self.stem2_norm = nn.BatchNorm2d(second)
        # Frequency is never averaged away: all bands of all channels go on.
        self.stem_out = nn.Conv1d(second * (MELS // 4), channels, 1, bias=False)
        self.stem_out_norm = nn.BatchNorm1d(channels)
        self.blocks = nn.ModuleList(TrunkBlock(channels, config.kernel, d) for d in config.dilations)
        if config.phones:
            self.phones = nn.Conv1d(channels, config.phones, 1)

    # The stages are separate methods because streaming (model/export.py) keeps what each still needs between chunks.

    def stem_first(self, log_mel: Tensor) -> Tensor:
        """[batch, frames, MELS] log-mel to [batch, channels, frames / 2, MELS / 2]."""
        x = (log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE
        return torch.relu(self.stem1_norm(self.stem1(x.unsqueeze(1))))

    def stem_second(self, x: Tensor) -> Tensor:
        """The first stage's output to [batch, channels, time at 20 ms]."""
        y = torch.relu(self.stem2_norm(self.stem2(x)))
        flat = y.permute(0, 1, 3, 2).flatten(1, 2)  # [batch, channels * bands, time]
        return torch.relu(self.stem_out_norm(self.stem_out(flat)))

    def outputs(self, x: Tensor) -> Tensor:
        """The last block's output to what the head hears [batch, width, time].

        With a bottleneck these are square roots of tempered phone probabilities: the voice is left behind, and rare
        phones still show (docs/architecture.md).
        """
        if self.phones is None:
            return x
        return torch.softmax(self.phones(x) / self.config.temperature, dim=1).sqrt()

    def hidden(self, log_mel: Tensor) -> Tensor:
        """Log-mel [batch, frames, MELS] to the last block's output [batch, channels, time at 20 ms]."""
        x = self.stem_second(self.stem_first(log_mel))
        for block in self.blocks:
            x = block(x)
        return x

    def phone_logits(self, log_mel: Tensor) -> Tensor:
        """Log-mel [batch, frames, MELS] to logits over blank and phones [batch, time at 20 ms, phones]."""
        assert self.phones is not None, "this trunk has no phonetic bottleneck"
        logits: Tensor = self.phones(self.hidden(log_mel))
        return logits.transpose(1, 2)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel [batch, receptive_frames + 2 (n - 1), MELS] to what the head hears [batch, n, width]."""
        return self.outputs(self.hidden(log_mel)).transpose(1, 2)


class TinyCRNN(nn.Module):
    """The trunk, and what follows the phrase on it: a matcher of its phones, or a recurrent layer with an MLP head."""

    def __init__(self, config: TinyCRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        self.matcher: Matcher | None = None
        self.decoys: Matcher | None = None
        if config.pronunciations:
            floor = ENCODER_MATCH_FLOOR if config.trunk.encoder else MATCH_FLOOR
            self.matcher = Matcher(config.pronunciations, floor)
            self.decoys = Matcher(config.decoys, floor) if config.decoys else None
            self.match = nn.Linear(1, 1)  # of the match score to a logit
            with torch.no_grad():
                self.match.weight.fill_(MATCH_WEIGHT)
                self.match.bias.fill_(MATCH_BIAS)
            return
        self.bridge = nn.Conv1d(config.trunk.width, config.recurrent_input, BRIDGE_STRIDE, stride=BRIDGE_STRIDE)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = nn.GRU(config.recurrent_input, config.recurrent_size, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(config.recurrent_size, config.recurrent_size), nn.ReLU(), nn.Linear(config.recurrent_size, 1)
        )

    def to_recurrent(self, x: Tensor) -> Tensor:
        """What the head hears [batch, width, time at 20 ms] to recurrent input [batch, time at 40 ms, size]."""
        return torch.relu(self.bridge(x)).transpose(1, 2)

    def window_logits(self, windows: Tensor) -> Tensor:
        """Windows of recurrent input [windows, window_frames, size] to logits [windows].

        The soft maximum over the last frames lets the phrase have ended anywhere in the last 200 ms.
        """
        states, _ = self.recurrent(self.dropout(windows))
        frame_logits = self.head(self.dropout(states[:, -self.config.pool_frames :])).squeeze(-1)
        peak = frame_logits.amax(dim=1, keepdim=True)
        return (frame_logits - peak).exp().mean(dim=1).log() + peak.squeeze(1)

    def _taken(self, matched: Tensor, decoy: Tensor) -> Tensor:
        """Match score that a decoy takes from the phrase where it is heard better than the margin allows."""
        return DECOY_SLOPE * functional.relu(decoy - matched - self.config.decoy_margin)

    def match_logits(self, scores: Tensor, decoys: Tensor | None = None, rescored: Tensor | None = None) -> Tensor:
        """Match scores of the last frames [batch, n, MATCH_POOL], those of decoys, and how these frames were rescored,
        to logits [batch, n].

        What sounds more like a decoy than like the phrase loses :data:`DECOY_SLOPE` times the difference.
        """
        best = matched = scores.amax(dim=2, keepdim=True)
        if rescored is not None:
            best = (scores + RESCORED_WEIGHT * rescored).amax(dim=2, keepdim=True)
        if decoys is not None:
            best = best - self._taken(matched, decoys.amax(dim=2, keepdim=True))
        logits: Tensor = self.match(best).squeeze(2)
        return logits

    def head_logits(self, heard: Tensor) -> Tensor:
        """What the trunk gave [batch, head_frames + 4 (n - 1), width] to logits [batch, n], one every 80 ms.

        With a rescored phrase each frame has one number more: how it was rescored.
        """
        if self.matcher is not None:
            phones = heard[:, :, : self.config.trunk.width]

            def pooled(frames: Tensor) -> Tensor:
                step = SCORE_STRIDE * BRIDGE_STRIDE
                return frames[:, self.config.head_frames - MATCH_POOL :].unfold(1, MATCH_POOL, step)

            def windows_of(matcher: Matcher) -> Tensor:
                return pooled(matcher(phones, matcher.start(phones))[0])

            return self.match_logits(
                windows_of(self.matcher),
                windows_of(self.decoys) if self.decoys else None,
                pooled(heard[:, :, -1]) if self.config.spellings else None,
            )
        encoded = self.to_recurrent(heard.transpose(1, 2))
        windows = encoded.unfold(1, self.config.window_frames, SCORE_STRIDE).transpose(2, 3)
        return self.window_logits(windows.flatten(0, 1)).view(windows.shape[0], windows.shape[1])

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel [batch, receptive_frames + 8 (n - 1), MELS] to logits [batch, n], one every 80 ms."""
        return self.head_logits(self.trunk(log_mel))

    def encoder_window(self, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What an encoder heard in a window of a stream [batch, time, width] to the best match at its end, its frame,
        and what decoys take from it, all [batch, 1]. :meth:`encoder_logit` makes a logit of them."""
        assert self.matcher is not None

        def ends_of(matcher: Matcher) -> Tensor:
            scores, _ = matcher(heard, matcher.start(heard))
            return scores[:, -ENCODER_POOL:]

        best, place = ends_of(self.matcher).max(dim=1, keepdim=True)
        taken = torch.zeros_like(best)
        if self.decoys:
            taken = self._taken(best, ends_of(self.decoys).amax(dim=1, keepdim=True))
        return best, place + (heard.shape[1] - ENCODER_POOL), taken

    def encoder_logit(self, matched: Tensor, rescored: Tensor, taken: Tensor) -> Tensor:
        """A match of a window, how it was rescored, and what decoys take, to a logit, all [batch, 1]."""
        logit: Tensor = self.match(matched + RESCORED_WEIGHT * rescored - taken)
        return logit

    @torch.no_grad()
    def centre(self, score: float) -> None:
        """Shift all logits so that what had this score has 0.5, and make their slope gentle; the order stays."""
        score = min(max(score, 1e-6), 1 - 1e-6)
        level = math.log(score) - math.log1p(-score)
        gentle = MATCH_SLOPE / max(MATCH_SLOPE, float(self.match.weight))
        self.match.weight *= gentle
        self.match.bias.copy_((self.match.bias - level) * gentle)

    def stored_logits(self, stored: Tensor) -> Tensor:
        """Stored frames [batch, window + chunk (n - 1), width] (see :class:`StoredFrames`) to logits [batch, n]."""
        return self.head_logits(stored) if self.config.trunk.phones else self(stored)


def save_checkpoint(model: TinyCRNN, path: str, extra: dict[str, Any] | None = None) -> None:
    """Write configuration, weights and ``extra`` plain values as one file that loads with ``weights_only=True``."""
    torch.save({"config": model.config.as_dict(), "weights": model.state_dict(), **(extra or {})}, path)


def load_checkpoint(path: str | IO[bytes]) -> tuple[TinyCRNN, dict[str, Any]]:
    """The model (in evaluation mode, on the CPU) and everything else in a file of :func:`save_checkpoint`."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    model = TinyCRNN(TinyCRNNConfig.from_dict(content.pop("config")))
    model.load_state_dict(content.pop("weights"))
    return model.eval(), content
