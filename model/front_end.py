"""Front ends compute the frames in which a detector's examples are stored.

A front end is small and is sent to the processes that build examples (:mod:`model.examples`), which do not load torch.
With a GPU, one process computes for all while the others mix audio and store frames, so the work has two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.onnx import CPU, session
from model.features import HOP, WINDOW, StoredFrames, frame_count, log_mel
from model.large.encoder_backbone import GPU_BATCH, STATE_FRAMES, EncoderBackbone, SecondPass

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


@dataclass(frozen=True)
class EncoderFrontEnd(FrontEnd):
    """A speech encoder's phones.

    Attributes:
        graph: the ONNX file (:func:`model.large.encoder.window_graph`).
        keyword_hmm, second_pass: ONNX files for the second pass's gain, one more column; empty for none.
        above, before: see :class:`model.large.encoder_backbone.SecondPass`.
        states: whether to store the encoder's states too, for a negative set.
    """

    graph: str
    keyword_hmm: str = ""
    second_pass: str = ""
    above: float = 0.0
    before: int = 0
    states: bool = False
    network: ClassVar[bool] = True

    def sound(self, audio: np.ndarray, low: int, high: int) -> np.ndarray:
        return audio  # the whole example, because the encoder is bidirectional

    def computer(self, providers: Sequence[str] = (CPU,)) -> Compute:
        encoder = EncoderBackbone(self.graph, providers)
        return lambda sounds: list(encoder.encode_many(sounds))

    def storer(self) -> Store:
        keyword_hmm = session(self.keyword_hmm) if self.keyword_hmm else None
        second_pass = SecondPass(self.second_pass, self.above, self.before) if self.second_pass else None

        def store(computed: Computed, low: int, high: int) -> np.ndarray:
            phones, states = computed
            columns = [phones]
            if keyword_hmm is not None and second_pass is not None:
                match = keyword_hmm.run(None, {"heard": phones[None]})[0][0] if len(phones) else np.zeros(0, np.float32)
                columns.append(second_pass.gains(match, phones, states)[:, None])
            if self.states:
                columns.append(np.repeat(states, STATE_FRAMES, axis=0)[: len(phones)])
            return np.concatenate(columns, axis=1)[low // self.stored.step : high // self.stored.step]

        return store
