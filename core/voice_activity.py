"""The probability of speech in each 32 ms of audio, computed by silero-vad.

Only the package's model is used, on onnxruntime: the package itself would import torch and limit its threads.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.onnx import session
from core.worded import worded

FRAME = 512  # samples (32 ms) per input frame of silero-vad
CONTEXT = 64  # samples of context before each frame
FRAME_S = FRAME / SAMPLE_RATE
MAX_FRAMES = 512  # maximum number of frames per call of the model


class SpeechProbability:
    """Probability of speech in each complete 32 ms frame of a stream. The blocks may have any size."""

    def __init__(self) -> None:
        self._session = _session()
        self._hidden = self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def feed(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        """Return probabilities [frames] of complete frames and, with ``last``, of the rest, padded with silence."""
        samples = np.concatenate([self._rest, np.asarray(audio, np.float32)])
        if last:
            samples = np.pad(samples, (0, -len(samples) % FRAME))
        whole = len(samples) // FRAME
        self._rest = samples[whole * FRAME :]
        probabilities = [np.zeros(0, np.float32)]
        for first in range(0, whole, MAX_FRAMES):
            frames = samples[first * FRAME : min(whole, first + MAX_FRAMES) * FRAME].reshape(-1, FRAME)
            before = np.concatenate([self._context[None], frames[:-1, -CONTEXT:]])
            self._context = frames[-1, -CONTEXT:]
            values, self._hidden, self._cell = self._session.run(
                ["speech_probs", "hn", "cn"],
                {"input": np.concatenate([before, frames], axis=1), "h": self._hidden, "c": self._cell},
            )
            probabilities.append(np.asarray(values, np.float32).reshape(-1))
        return np.concatenate(probabilities)


def speech_probabilities(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return probabilities [frames] of a whole recording that comes in blocks."""
    stream = SpeechProbability()
    found = [stream.feed(block) for block in blocks]
    return np.concatenate([*found, stream.feed(np.zeros(0, np.float32), last=True)])


@cache
def _session() -> Any:
    """Load the model, once per process. It holds no state, so streams share it."""
    package = importlib.util.find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        raise HarkError(
            worded("Speech cannot be distinguished from silence."),
            worded("The package silero-vad is not installed."),
            worded("Run python -m pip install silero-vad -c constraints.txt."),
        )
    return session(Path(package.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx")
