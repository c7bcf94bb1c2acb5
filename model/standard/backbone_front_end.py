"""The front end of a backbone, without torch, which processes that build examples do not load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.onnx import CPU, session
from model.features import HOP, WINDOW, frame_count
from model.front_end import Compute, Computed, FrontEnd
from model.gpu import GPU_BATCH


@dataclass(frozen=True)
class BackboneFrontEnd(FrontEnd):
    """A backbone's outputs; the ONNX file ``graph`` maps ``audio`` [n, samples] to ``heard`` [n, time, width]."""

    graph: str
    network: ClassVar[bool] = True

    def sound(self, audio: np.ndarray, low: int, high: int) -> np.ndarray:
        return audio[low * HOP : (high - 1) * HOP + WINDOW]

    def computer(self, providers: Sequence[str] = (CPU,)) -> Compute:
        backbone = session(self.graph, providers=providers)
        at_once = 1 if tuple(providers) == (CPU,) else GPU_BATCH

        def compute(sounds: Sequence[np.ndarray]) -> list[Computed]:
            computed: list[Computed] = []
            for start in range(0, len(sounds), at_once):
                part = sounds[start : start + at_once]
                batch = np.zeros((len(part), max(map(len, part))), np.float32)
                for row, sound in zip(batch, part):
                    row[: len(sound)] = sound  # a backbone is causal: padding at the end does not change earlier frames
                given = backbone.run(None, {"audio": batch})[0]
                computed += [row[: self.stored.position(frame_count(len(sound)))] for row, sound in zip(given, part)]
            return computed

        return compute
