"""Front ends compute the frames in which a detector's examples are stored.

A front end is small and is sent to the processes that build examples (:mod:`model.examples`), which do not load torch.
With a GPU, one process computes for all while the others mix audio and store frames, so the work has two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.onnx import CPU
from model.features import StoredFrames, log_mel

Computed = np.ndarray | tuple[np.ndarray, np.ndarray]  # frames; for an encoder, phones and states
Compute = Callable[[Sequence[np.ndarray]], list[Computed]]
Store = Callable[[Computed, int, int], np.ndarray]


@dataclass(frozen=True)
class FrontEnd:
    """Log-mel, stored unchanged; the base class of the others.

    Attributes:
        stored: layout of the stored frames.
        network: whether it has a network, which may run on a GPU.
    """

    stored: StoredFrames
    network: ClassVar[bool] = False

    def sound(self, audio: np.ndarray, low: int, high: int) -> np.ndarray:
        """Return the input for computing the log-mel frames ``low`` to ``high`` of an example's audio [samples]."""
        return log_mel(audio)[low:high]

    def computer(self, providers: Sequence[str] = (CPU,)) -> Compute:
        """Return a function that computes frames of sounds, in batches on a GPU."""
        return list

    def storer(self) -> Store:
        """Return a function that turns results for ``sound(audio, low, high)`` into stored frames [frames, width]."""
        return lambda computed, low, high: np.asarray(computed)
