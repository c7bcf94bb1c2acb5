"""The interface of all detectors (:data:`model.checkpoint.KINDS` lists them), and scoring of stored frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from model.dataset import END_JITTER, FeatureStore
from model.features import HOP, WINDOW, StoredFrames
from model.front_end import FrontEnd
from model.metrics import ScoredStream
from model.plain import plain
from model.runtime.detector import SMOOTHING_FRAMES, smooth_scores


class DetectorConfig(ABC):
    """The shape of a detector (a dataclass), stored in every checkpoint, which identifies it by its ``kind``."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def stored(self) -> StoredFrames:
        """The layout of stored examples."""

    @property
    def receptive_frames(self) -> int:
        """Log-mel frames that one score depends on."""
        return self.stored.lead + self.stored.step * (self.stored.window - 1)

    @property
    def receptive_samples(self) -> int:
        """Audio samples that one score depends on."""
        return (self.receptive_frames - 1) * HOP + WINDOW

    @property
    def stream_samples(self) -> int:
        """Number of the latest samples of a stream that a score can depend on."""
        return self.receptive_samples

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values (:mod:`model.plain`); :func:`model.checkpoint.config_from_dict` is the inverse."""
        return {"kind": self.kind, **plain(self)}


class Detector(nn.Module, ABC):
    """Maps audio to scores from 0 to 1, one every 80 ms.

    Attributes:
        title: what it is, for the model card of its bundle.
        batch_frames: stored frames to score in one batch, for speed.
        quantizes: whether its graph can be quantized to 8-bit weights; False if it already has them.
        smoothing_frames: outputs that the runtime averages before it compares them with a threshold.
    """

    title: ClassVar[str]
    batch_frames: ClassVar[int]
    quantizes: ClassVar[bool]
    smoothing_frames: ClassVar[int] = SMOOTHING_FRAMES
    config: DetectorConfig

    @property
    @abstractmethod
    def front_end_id(self) -> str:
        """An identifier shared by detectors with the same front end, weights included."""

    @property
    def stored_id(self) -> Hashable:
        """An identifier shared by detectors with the same stored frames."""
        return self.front_end_id

    @abstractmethod
    def front_end(self, folder: Path) -> FrontEnd:
        """Return the front end that computes its stored frames; write the required files into ``folder``."""

    @abstractmethod
    def scores(self, stored: np.ndarray) -> np.ndarray:
        """Return scores [batch, n] of stored frames [batch, window + chunk (n - 1), width] (:class:`StoredFrames`)."""

    @abstractmethod
    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        """Return unsmoothed scores [samples // 1280] of a recording that follows silence."""

    @abstractmethod
    def export(self, path: Path) -> int:
        """Write it as ONNX: ``audio`` [1, 1280 n] and ``state`` [1, size] to ``score`` [1, n] and ``new_state``.

        Returns the size of the state; a state of zeros means silence.
        """

    def foundation(self) -> dict[str, Any]:
        """Return what a report states about the shipped weights that the detector is built on, as JSON values.

        Raises HarkError if their file is missing or damaged.
        """
        return {}

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())


class TrainedDetector(Detector):
    """A detector that learns the phrase (:mod:`model.train`).

    Attributes:
        end_jitter: log-mel frames between the end of the phrase and the end of a training window (least, most).
        on_gpu: train and score on a GPU if there is one; small detectors are faster without.
    """

    end_jitter: tuple[int, int] = END_JITTER
    on_gpu: ClassVar[bool] = False

    def augmented(self, windows: Tensor, rng: np.random.Generator) -> Tensor:
        """Augment windows [batch, window, width] for training, differently each time."""
        return windows

    @abstractmethod
    def forward(self, stored: Tensor) -> Tensor:
        """Return logits [batch, n], or [batch, n, members], of stored frames [batch, window + chunk (n - 1), width]."""


def in_batches(
    scores: Callable[[np.ndarray], np.ndarray], pieces: Sequence[np.ndarray], stored: StoredFrames, batch_frames: int
) -> list[np.ndarray]:
    """Score segments of stored frames [frames, width] with ``scores``, which works like :meth:`Detector.scores`.

    For speed, segments of similar length share a batch of up to ``batch_frames`` frames, padded at the end.
    """
    counts = [stored.scores(len(piece)) for piece in pieces]
    result: list[np.ndarray] = [np.zeros(0, np.float32)] * len(pieces)
    order = sorted((i for i, count in enumerate(counts) if count), key=lambda i: counts[i])
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(pieces[order[end]]) <= batch_frames:
            end += 1
        chosen = order[start:end]
        start = end
        frames = stored.window + (counts[chosen[-1]] - 1) * stored.chunk
        batch = np.zeros((len(chosen), frames, pieces[chosen[0]].shape[1]), np.float32)
        for row, index in zip(batch, chosen):
            part = pieces[index][:frames]
            row[: len(part)] = part
        for row, index in zip(scores(batch), chosen):
            result[index] = row[: counts[index]].copy()
    return result


def scores_of_many(detector: Detector, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the unsmoothed scores of each segment of stored frames [frames, width]."""
    return in_batches(detector.scores, pieces, detector.config.stored, detector.batch_frames)


def as_streams(detector: Detector, scores: Iterable[np.ndarray], rows: Any) -> list[ScoredStream]:
    """Convert a detector's scores of segments (rows of a feature store) to scored streams, smoothed as at runtime.

    Phrase ends are shifted, because a segment's first score belongs to its first complete window.
    """
    stored = detector.config.stored
    # Score i ends with stored frame window + chunk i; in stream time it ends at (i + 1) * 80 ms.
    offset = stored.window - stored.chunk
    streams = []
    for raw, phrase_end in zip(scores, rows["phrase_end"]):
        ends = [] if phrase_end < 0 else [(phrase_end - offset) * stored.step / 100.0]
        smoothed = smooth_scores(raw, smoothing_frames=detector.smoothing_frames)
        streams.append(ScoredStream(smoothed, np.asarray(ends)))
    return streams


def score_segments(detector: Detector, store: FeatureStore, rows: Any) -> list[ScoredStream]:
    scores = scores_of_many(detector, [store.features(row) for row in rows.itertuples()])
    return as_streams(detector, scores, rows)
