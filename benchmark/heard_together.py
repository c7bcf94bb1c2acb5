"""Detectors measured together: an encoder or a trunk that they share, which is most of the work, hears a stream once
for all, and what differs in the line from match to logit alone, as a phrase's runs of several seeds do, follows the
phrase once.

The scores are those that the bundles' graphs give, which is tried on a piece of a stream before anything is measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np

from core.processors import usable_cores
from model.runtime.detector import Detector, logit, smooth_scores
from pipeline.serving.shared_trunk import Group, GroupScores

if TYPE_CHECKING:
    from model.model import TinyCRNN

WINDOWS_AT_ONCE = 256


class SharedEncoder:
    """Scores [n, phrases] of large detectors whose windows are equally long; see ``wakeword.StreamScorer``."""

    def __init__(self, models: Sequence[TinyCRNN]) -> None:
        """Load the encoder for them."""
        from model.encoder import rescorer_of, window_graph
        from model.encoder_trunk import EncoderTrunk

        self.models = [model.eval() for model in models]
        self.window = self.models[0].config.window_samples
        assert all(model.config.window_samples == self.window for model in self.models)
        self._trunk = EncoderTrunk(window_graph().SerializeToString())
        self._hearing = ThreadPoolExecutor(usable_cores())  # a window is too little work to be divided
        self._rescorers = [rescorer_of(model.config) for model in self.models]
        self._follows = first_alike(self.models)
        self._silence = self._scores(np.zeros((1, self.window), np.float32))
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._heard = np.zeros(self.window, np.float32)  # the last window, and what does not yet complete a chunk
        self._chunks = 0
        self._last = self._silence[0]
        self._before = self._silence

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Scores [n, phrases] of the chunks that ``samples`` complete."""
        from model.model import CHUNK_SAMPLES, ENCODER_HOP

        audio = np.concatenate([self._heard, np.asarray(samples, np.float32)])
        count = (len(audio) - self.window) // CHUNK_SAMPLES
        hop = ENCODER_HOP // CHUNK_SAMPLES
        due = [number for number in range(1, count + 1) if (self._chunks + number) % hop == 0]
        raw = np.empty((count, len(self.models)), np.float32)
        at = 0
        for block in _blocks(due):
            ends = [number * CHUNK_SAMPLES + self.window for number in block]
            new = self._scores(np.stack([audio[end - self.window : end] for end in ends]))
            for number, score in zip(block, new):
                raw[at : number - 1], at = self._last, number - 1
                self._last = score
        raw[at:] = self._last
        self._chunks += count
        self._heard = audio[count * CHUNK_SAMPLES :]
        columns = [smooth_scores(raw[:, k], self._before[:, k]) for k in range(raw.shape[1])]
        self._before = np.concatenate([self._before, raw])[-1:]
        return np.stack(columns, axis=1)

    def _scores(self, windows: np.ndarray) -> np.ndarray:
        """Windows [n, samples] to raw scores [n, phrases]."""
        from model.encoder import matches_to_scores, window_matches
        from model.encoder_trunk import FRAME_SAMPLES

        frames = self.window // FRAME_SAMPLES
        heard = list(self._hearing.map(lambda window: self._trunk.window(window, frames), windows))
        matches = {k: window_matches(self.models[k], self._rescorers[k], heard) for k in set(self._follows)}
        columns = [matches_to_scores(model, matches[k]) for model, k in zip(self.models, self._follows)]
        return np.stack(columns, axis=1)


class SharedTrunk:
    """Scores [n, phrases] of detectors that stand on the same trunk, which runs once for all of them; those that differ
    in the line from match to logit alone follow the phrase once."""

    def __init__(self, group: Group) -> None:
        """The detectors of a group, in its order."""
        self._group = group
        models = [model_of(phrase.detector) for phrase in group.phrases]
        known = [model for model in models if model is not None]
        self._follows, self._lines = list(range(len(models))), [(1.0, 0.0)] * len(models)
        if len(known) == len(models) and all(model.matcher is not None for model in known):
            self._follows = first_alike(known)
            self._lines = [(model.match.weight.item(), model.match.bias.item()) for model in known]
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._stream = _SharedMatches(self._group, self._follows, self._lines)

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Scores [n, phrases] of the chunks that ``samples`` complete."""
        blocks = [np.stack(block, axis=1) for block in self._stream.blocks(samples)]
        return np.concatenate([np.zeros((0, len(self._group.phrases)), np.float32), *blocks])


class _SharedMatches(GroupScores):
    """A group's scores, of which those that follow another phrase's match are its scores along their own line."""

    def __init__(self, group: Group, follows: Sequence[int], lines: Sequence[tuple[float, float]]) -> None:
        super().__init__(group, group.phrases)
        self._follows, self._lines = follows, lines

    def raw(self, block: np.ndarray) -> list[np.ndarray]:
        heard = {first: self.hear(first, block) for first in set(self._follows)}
        return [self._along(number, first, heard[first]) for number, first in enumerate(self._follows)]

    def _along(self, number: int, first: int, raw: np.ndarray) -> np.ndarray:
        if number == first:
            return raw
        (slope, level), (other_slope, other_level) = self._lines[number], self._lines[first]
        return np.asarray(1 / (1 + np.exp(-slope * (logit(raw) - other_level) / other_slope - level)), np.float32)


def first_alike(models: Sequence[TinyCRNN]) -> list[int]:
    """For each model the first one from which it differs at most in the line from match to logit."""
    return [next(k for k, other in enumerate(models) if _match_alike(other, model)) for model in models]


def _match_alike(one: TinyCRNN, other: TinyCRNN) -> bool:
    """Whether two models differ at most in the line from match to logit."""
    states = [
        {name: value for name, value in model.state_dict().items() if not name.startswith("match.")}
        for model in (one, other)
    ]
    return (
        one.config == other.config
        and states[0].keys() == states[1].keys()
        and all(value.equal(states[1][name]) for name, value in states[0].items())
    )


def _blocks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), WINDOWS_AT_ONCE):
        yield numbers[first : first + WINDOWS_AT_ONCE]


def large_model(detector: Detector) -> TinyCRNN | None:
    """The model of a large detector from its bundle; None of another, or one without it."""
    if "model.int8.onnx" in detector.bundle.manifest["files"]:  # a large one has 8-bit weights in its only graph
        return None
    model = model_of(detector)
    return model if model is not None and model.config.trunk.encoder else None


def model_of(detector: Detector) -> TinyCRNN | None:
    """The model in a detector's bundle; None where it holds none, or one of an earlier version."""
    from model.model import load_checkpoint

    if "model.pt" not in detector.bundle.manifest["files"]:
        return None
    try:
        return load_checkpoint(io.BytesIO(detector.bundle.read("model.pt")))[0]
    except (RuntimeError, KeyError, ValueError, TypeError, UnpicklingError):
        return None
