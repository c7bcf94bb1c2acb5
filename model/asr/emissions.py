"""Emissions (an acoustic model's output probabilities per frame) for audio of any length, and their compact form.

The compact form has 8 bits per value: the negative log-probability in steps of :data:`STEP`, for the most probable
:data:`STORED_OUTPUTS` outputs of each frame (their indices, then their values). The other outputs share the remaining
probability evenly. ``./hark bench mining`` measures size and cost on recordings with known word times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from model.features import HOP, SAMPLE_RATE, WINDOW, log_mel
from model.phones import CHARACTER_OUTPUTS, PHONE_OUTPUTS, PHONES, phone_indices
from phrase_augmentation.phonemes import phonemes_of_words

OUTPUT_SAMPLES = 320  # samples per output of the recognizer: 20 ms
WINDOW_OUTPUTS = 1000  # outputs computed per window: 20 s
CONTEXT_OUTPUTS = 100  # outputs at each end of a window that the neighbouring window supplies: 2 s
PAD_S = 1.0  # seconds; audio is padded to a multiple, so that clips of similar length share a batch
TAIL_S = 0.3  # seconds of silence after the end, as in training
BATCH_SECONDS = 160.0  # maximum seconds of audio per forward pass
BLANK_NAME = "<blank>"

STEP = 0.08  # nats per step of 8 bits: 255 steps reach exp(-20.4)
STORED_OUTPUTS = 8  # outputs stored per frame


class Aligner:
    """An aligner that uses the phone outputs of Hark's recognizer; ``both`` also yields its characters.

    Attributes:
        name: identifies model and weights, and is a valid file name; emissions of different weights are never mixed.
        vocabulary: the name of each output; output 0 is the blank.
        frame_s: seconds per output.
    """

    frame_s = OUTPUT_SAMPLES / SAMPLE_RATE

    vocabulary = (BLANK_NAME, *PHONES)

    def __init__(self, recognizer: Any = None) -> None:
        """Wrap ``recognizer``, a ``model.asr.network.Recognizer``; None means the shipped one."""
        from model.asr.network import shipped_recognizer
        from model.weights import weights_digest

        self.recognizer = shipped_recognizer()[0] if recognizer is None else recognizer.eval()
        self.name = f"recognizer-phones-{weights_digest(self.recognizer)}"

    def both(self, audios: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield log-probabilities over ``characters`` and over ``phones`` for each recording, in order."""
        waiting: list[np.ndarray] = []
        seconds = 0.0
        for audio in audios:
            waiting.append(np.ascontiguousarray(audio, dtype=np.float32))
            seconds += len(audio) / SAMPLE_RATE
            if seconds >= 4 * BATCH_SECONDS:
                yield from self._outputs_of(waiting)
                waiting, seconds = [], 0.0
        yield from self._outputs_of(waiting)

    def log_probabilities(self, audio: np.ndarray) -> np.ndarray:
        """Return natural logarithms [time, outputs] float32 for mono audio [samples] of any length at 16 kHz."""
        return next(self.both([audio]))["phones"]

    def log_probabilities_of(self, audios: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield :meth:`log_probabilities` of each recording, in order, computed in batches."""
        for heads in self.both(audios):
            yield heads["phones"]

    def tokens(self, words: Sequence[str], language: str) -> list[list[int]]:
        """Return the outputs that each word consists of; a word that the model has no outputs for gets none."""
        return [phone_indices(phones) for phones in phonemes_of_words(words, language)]

    def _outputs_of(self, audios: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Run windows of equal length as one batch; a result does not depend on the other windows of its batch."""
        windows: dict[int, list[tuple[int, int]]] = {}  # by outputs per window: (recording, first output)
        for number, audio in enumerate(audios):
            for first, length in _windows(len(audio)):
                windows.setdefault(length, []).append((number, first))
        results = [
            {
                "characters": np.empty((output_count(len(audio)), CHARACTER_OUTPUTS), np.float32),
                "phones": np.empty((output_count(len(audio)), PHONE_OUTPUTS), np.float32),
            }
            for audio in audios
        ]
        for length, places in sorted(windows.items()):
            size = max(1, int(BATCH_SECONDS / (length * self.frame_s)))
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                mels = np.stack([_window_mel(audios[number], first, length) for number, first in batch])
                for name, values in self._forward(mels).items():
                    for (number, first), row in zip(batch, values):
                        whole = results[number][name]
                        low = first + (CONTEXT_OUTPUTS if first else 0)
                        high = min(len(whole), first + length)
                        whole[low:high] = row[low - first : high - first]
        yield from results

    def _forward(self, mels: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        with torch.inference_mode():
            logits = self.recognizer(torch.from_numpy(mels))
            return {name: values.log_softmax(-1).numpy() for name, values in logits.items()}


@lru_cache(maxsize=1)
def default_aligner() -> Aligner:
    """Return an aligner with the shipped recognizer; loaded once per process."""
    return Aligner()


def output_count(samples: int) -> int:
    """Return the number of outputs for that many samples: one per started 20 ms, at least one."""
    return max(1, -(-samples // OUTPUT_SAMPLES))


def _windows(samples: int) -> list[tuple[int, int]]:
    """Return (first output, outputs) of the windows of a recording; they overlap by twice the context."""
    total = output_count(samples)
    if total <= WINDOW_OUTPUTS:
        padded = int(np.ceil((samples / SAMPLE_RATE + TAIL_S) / PAD_S) * PAD_S * SAMPLE_RATE) // OUTPUT_SAMPLES
        return [(0, padded)]
    step = WINDOW_OUTPUTS - 2 * CONTEXT_OUTPUTS
    # A later window overwrites the end of the previous one, except for its own leading context.
    return [(first, WINDOW_OUTPUTS) for first in range(0, total - 2 * CONTEXT_OUTPUTS, step)]


def _window_mel(audio: np.ndarray, first: int, outputs: int) -> np.ndarray:
    """Return the log-mel [2 * outputs, MELS] from an output on; silence follows the end of the recording."""
    start = first * OUTPUT_SAMPLES
    needed = (2 * outputs - 1) * HOP + WINDOW
    piece = audio[start : start + needed]
    return log_mel(np.pad(piece, (0, needed - len(piece))))


def pack(log_probabilities: np.ndarray, count: int = STORED_OUTPUTS) -> np.ndarray:
    """Compress [time, outputs] to uint8 [time, 2 * kept]: indices of the most probable outputs, then their values."""
    count = min(count, log_probabilities.shape[1])
    best = np.argpartition(-log_probabilities, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(log_probabilities, best, axis=1)
    steps = np.clip(np.rint(-values / STEP), 0, 255)
    return np.concatenate([best, steps], axis=1).astype(np.uint8)


def unpack(packed: np.ndarray, outputs: int) -> np.ndarray:
    """Invert :func:`pack`; return [time, outputs] float32.

    Raises:
        ValueError: it is not a compact form for that many outputs (truncated, or from a different aligner).
    """
    if packed.ndim != 2 or packed.dtype != np.uint8 or packed.shape[1] % 2 or not packed.shape[1]:
        raise ValueError(f"not compact emissions: {packed.dtype} {packed.shape}")
    count = packed.shape[1] // 2
    numbers = packed[:, :count].astype(np.int64)
    if len(numbers) and int(numbers.max()) >= outputs:
        raise ValueError(f"output {int(numbers.max())} of {outputs}")
    values = packed[:, count:].astype(np.float32) * -STEP
    left = np.clip(1.0 - np.exp(values).sum(axis=1, keepdims=True), 1e-6, None) / max(1, outputs - count)
    # A dropped output was less probable than each stored one.
    floor = np.minimum(np.log(left), values.min(axis=1, keepdims=True))
    result = np.repeat(floor.astype(np.float32), outputs, axis=1)
    np.put_along_axis(result, numbers, values, axis=1)
    return result
