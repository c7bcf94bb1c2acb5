"""Examples on disk as a detector's front end computes them (log-mel, or a backbone's outputs), and batches of them.

Features are computed once, written as 16-bit floats and read through a memory map, so that the trainer never waits for
audio and memory does not grow with the number of clips.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data_folder import atomic_path
from model.feature_rows import SEGMENT_COLUMNS
from model.features import MELS, StoredFrames

FRAMES_FILE = "frames.f16"
SOFT_LOGITS_FILE = "soft_logits.f16"
SEGMENTS_FILE = "segments.csv"
END_JITTER = (0, 20)  # log-mel frames; a training window ends up to 200 ms after the phrase
# Range of fractions of the phrase: a window that ends there contains too little of it and is a negative.
PREFIX_FRACTION = (0.2, 0.6)


class FeatureWriter:
    """Appends segments to a feature store. The store is complete only after :meth:`close`."""

    def __init__(self, folder: Path) -> None:
        """Create a store. All segments must have the first one's width."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / SEGMENTS_FILE).unlink(missing_ok=True)
        self._file = (folder / FRAMES_FILE).open("wb")
        self._rows: list[dict[str, Any]] = []
        self._frames = 0

    def append(self, features: np.ndarray, **columns: Any) -> None:
        """Append stored frames [frames, width]; ``columns`` are :data:`SEGMENT_COLUMNS` except the first two."""
        self._file.write(np.ascontiguousarray(features, dtype=np.float16).tobytes())
        self._rows.append({"first": self._frames, "frames": len(features), **columns})
        self._frames += len(features)

    def close(self) -> None:
        """Sync the frames and write the table, which marks the store as complete."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        table = pd.DataFrame(self._rows, columns=list(SEGMENT_COLUMNS))
        with atomic_path(self.folder / SEGMENTS_FILE) as temporary:
            table.to_csv(temporary, index=False)


@dataclass(frozen=True)
class FeatureStore:
    """Features of all segments: ``frames`` [total, width] float16 (memory map) and the ``segments`` table.

    Attributes:
        soft_logits: a teacher's logits [total] float16 for the windows that end with each frame, NaN where it has none;
            None without a teacher.
    """

    frames: np.ndarray
    segments: pd.DataFrame
    soft_logits: np.ndarray | None = None

    def features(self, segment: Any) -> np.ndarray:
        """Return the stored frames [frames, width] float16 of a row of the table."""
        return self.frames[segment.first : segment.first + segment.frames]

    def where(self, **equal: Any) -> pd.DataFrame:
        """Return the rows whose columns have those values."""
        rows = self.segments
        for column, value in equal.items():
            rows = rows[rows[column] == value]
        return rows


def store_is_complete(folder: Path) -> bool:
    return (folder / SEGMENTS_FILE).is_file()


def open_store(folder: Path, width: int = MELS) -> FeatureStore:
    """Open a store that a :class:`FeatureWriter` has closed; ``width`` is the number of values per frame."""
    segments = pd.read_csv(folder / SEGMENTS_FILE, keep_default_na=False)
    total = (folder / FRAMES_FILE).stat().st_size // (2 * width)
    shape = (total, width)
    frames = np.memmap(folder / FRAMES_FILE, np.float16, "r", shape=shape) if total else np.zeros(shape, np.float16)
    soft_logits = folder / SOFT_LOGITS_FILE
    return FeatureStore(frames, segments, np.fromfile(soft_logits, np.float16) if soft_logits.is_file() else None)


def store_soft_logits(folder: Path, soft_logits: np.ndarray) -> None:
    with atomic_path(folder / SOFT_LOGITS_FILE) as temporary:
        temporary.write_bytes(soft_logits.astype(np.float16).tobytes())  # OSErrors of tofile have no errno


class AudioDataset:
    """Windows of stored frames, with their labels, over a table of segments."""

    def __init__(
        self,
        segments: pd.DataFrame,
        frames: np.ndarray,
        stored: StoredFrames,
        end_jitter: tuple[int, int] = END_JITTER,
        soft_logits: np.ndarray | None = None,
    ) -> None:
        """Prepare windows of these segments; see :data:`END_JITTER` and ``soft_logits`` of :class:`FeatureStore`."""
        self.frames = frames
        self.soft_logits = soft_logits
        self.window = stored.window
        self._at_once = stored.at_once
        self._end_jitter = [round(frame / stored.step) for frame in end_jitter]
        self.first = segments["first"].to_numpy(np.int64)
        self.length = segments["frames"].to_numpy(np.int64)
        self.phrase_start = segments["phrase_start"].to_numpy(np.int64)
        self.phrase_end = segments["phrase_end"].to_numpy(np.int64)
        self.labels = segments["label"].to_numpy(np.float32)

    def windows(self, index: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return windows [batch, window, width] float32 that end before stored frames ``end`` of segments ``index``.

        If frames are computed in groups, a window ends before the first frame of the group at ``end``.
        """
        first = self.first[index] + self._whole(index, end) - self.window
        batch = np.empty((len(index), self.window, self.frames.shape[1]), np.float32)
        for row, start in enumerate(first):
            part = self.frames[start : start + min(self.window, self.length[index[row]])]
            missing = self.window - len(part)
            batch[row, missing:] = part
            batch[row, :missing] = part[0] if len(part) else 0.0  # a short segment is padded with its first frame
        return batch

    def teacher_logits(self, index: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return the teacher's logits [batch] for the same windows; NaN where it has none."""
        if self.soft_logits is None:
            return np.full(len(index), np.nan, np.float32)
        last = np.minimum(self._whole(index, end), self.length[index]) - 1
        return self.soft_logits[self.first[index] + last].astype(np.float32)

    def _whole(self, index: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Round ends down to groups of frames, and clip them so that windows are within segments."""
        end = end // self._at_once * self._at_once
        return np.clip(end, self.window, np.maximum(self.length[index], self.window))

    def aligned_ends(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw window ends up to 200 ms after aligned phrases; random ends in segments without an aligned phrase."""
        jitter = rng.integers(self._end_jitter[0], self._end_jitter[1] + 1, len(index))
        aligned = self.phrase_end[index]
        return np.where(aligned >= 0, aligned + jitter, self.random_ends(index, rng))

    def random_ends(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(self.window, np.maximum(self.length[index], self.window) + 1)

    def prefix_ends(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw window ends in the first part of aligned phrases, too early to contain the phrase."""
        start, end = self.phrase_start[index], self.phrase_end[index]
        return (start + rng.uniform(*PREFIX_FRACTION, len(index)) * (end - start)).astype(np.int64)


@dataclass(frozen=True)
class BatchRecipe:
    """Fractions of a batch. The rest are random windows of negatives."""

    positive: float = 0.25
    aligned_negative: float = 0.30  # confusables and in-between phrases, aligned like the phrase
    hard: float = 0.15  # windows of negatives with the highest scores at the last mining
    prefix: float = 0.05  # windows that contain only the beginning of the phrase


class BatchSampler:
    """Draws training batches; the fractions follow the recipe as long as each kind has windows."""

    def __init__(self, dataset: AudioDataset, recipe: BatchRecipe, batch_size: int, rng: np.random.Generator) -> None:
        self.dataset, self.recipe, self.batch_size, self.rng = dataset, recipe, batch_size, rng
        self.positives = np.flatnonzero(dataset.labels > 0.5)
        negative = dataset.labels < 0.5
        self.negatives = np.flatnonzero(negative)
        self.aligned = np.flatnonzero(negative & (dataset.phrase_end >= 0))
        # Random windows are drawn in proportion to a segment's length, so that all speech is equally probable.
        weights = dataset.length[self.negatives].astype(np.float64)
        self._cumulative = np.cumsum(weights) / weights.sum()
        self.hard: tuple[np.ndarray, np.ndarray] | None = None

    def set_hard(self, index: np.ndarray, end: np.ndarray) -> None:
        """Set the windows (segment indices and window ends) that the detector mistook for the phrase."""
        self.hard = (index, end) if len(index) else None

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw a batch: windows [batch, window, width], labels [batch], and the teacher's logits [batch]."""
        data, rng, size = self.dataset, self.rng, self.batch_size
        index: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        labels: list[np.ndarray] = []

        def add(chosen: np.ndarray, end: np.ndarray, label: float) -> None:
            index.append(chosen)
            ends.append(end)
            labels.append(np.full(len(chosen), label, np.float32))

        chosen = rng.choice(self.positives, max(1, round(size * self.recipe.positive)))
        add(chosen, data.aligned_ends(chosen, rng), 1.0)
        chosen = rng.choice(self.positives, round(size * self.recipe.prefix))
        add(chosen, data.prefix_ends(chosen, rng), 0.0)
        if len(self.aligned):
            chosen = rng.choice(self.aligned, round(size * self.recipe.aligned_negative))
            add(chosen, data.aligned_ends(chosen, rng), 0.0)
        if self.hard is not None:
            pick = rng.integers(0, len(self.hard[0]), round(size * self.recipe.hard))
            add(self.hard[0][pick], self.hard[1][pick] + rng.integers(-3, 4, len(pick)), 0.0)
        rest = size - sum(len(part) for part in index)
        chosen = self.negatives[np.searchsorted(self._cumulative, rng.random(rest))]
        add(chosen, data.random_ends(chosen, rng), 0.0)
        segments, last = np.concatenate(index), np.concatenate(ends)
        return data.windows(segments, last), np.concatenate(labels), data.teacher_logits(segments, last)
