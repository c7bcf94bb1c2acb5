"""A speech encoder as a backbone, on onnxruntime only: maps recordings to states, and to phone probabilities per 20 ms.

From the states, a decoder computes the probability of a phrase (:class:`SecondPass`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from core.errors import HarkError
from core.onnx import CPU, session
from core.worded import worded
from model.front_end import Compute, Computed, FrontEnd, Store
from model.gpu import GPU_BATCH, with_float_weights

if TYPE_CHECKING:
    import onnx

PACKAGE = "moonshine_voice"
ASSETS = Path("assets") / "tiny-en"
ENCODER_FILE, DECODER_FILE, TOKENIZER_FILE = (
    ASSETS / name for name in ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
)
DIGESTS = {  # SHA-256 digests for moonshine-voice 0.0.73
    ENCODER_FILE: "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    DECODER_FILE: "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
}
OUTPUT_HOP = 384  # samples per encoder output: 24 ms
OUTPUT_CENTRE = 447  # sample in the middle of the first output's receptive field (convolutions only)
FRAME_SAMPLES = 320  # samples per output frame: 20 ms
BATCH_STEP = 96_000  # new samples per window of a recording; margins on both sides only provide context
BATCH_MARGIN = 19_200
EDGE = 3_840  # samples of silence before and after a recording
STATE_FRAMES = 4  # output frames per stored state: a third of the states is as good as all (lab/experiments.md)
# Number of states that the second pass reads before and after the end of a match: at least 1.6 s, and 0.5 s.
STATES_BEFORE, STATES_AFTER = 20, 7


def package_file(name: Path) -> Path | None:
    """Return the path of a file in the installed package; None if the package or the file is missing."""
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / name
    return path if path.is_file() else None


def package_content(name: Path) -> bytes:
    """Return the content of a file in the package. Raises HarkError if it is missing or has a different version."""
    path = package_file(name)
    content = path.read_bytes() if path is not None else b""
    if path is None or (name in DIGESTS and hashlib.sha256(content).hexdigest() != DIGESTS[name]):
        raise HarkError(
            worded("%(name)s, which large detectors need, is missing.", name=name.name),
            worded(
                "It comes with the package moonshine-voice 0.0.73, which is not installed, or is a different version."
            ),
            worded("Run python -m pip install --no-deps -r requirements-alone.txt, or train with --size standard."),
        )
    return content


@cache
def check_package() -> None:
    """Raise HarkError if a file that large detectors need is missing, or from a different version of the package."""
    for name in (ENCODER_FILE, DECODER_FILE, TOKENIZER_FILE):
        package_content(name)


def package_model(name: Path) -> onnx.ModelProto:
    """Convert a model of the package from onnxruntime's format to ONNX. Raises the error of :func:`package_content`."""
    import onnx
    import onnxruntime

    content = package_content(name)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        options.add_session_config_entry("session.save_model_format", "ONNX")
        onnxruntime.InferenceSession(content, options, providers=[CPU])
        model = onnx.load(options.optimized_model_filepath)
    for entry in list(model.opset_import):
        if entry.domain not in ("", "com.microsoft"):
            model.opset_import.remove(entry)
    return model


def encoder_path() -> Path | None:
    """Return the path of the encoder's file; None if the package or the file is missing."""
    return package_file(ENCODER_FILE)


def frame_positions(samples: int, frames: int, first_sample: int = 0) -> np.ndarray:
    """Return the index [frames] of the encoder output that is nearest to the centre of each 20 ms frame.

    The encoder's input is ``samples`` long, and the first frame begins at ``first_sample``.
    """
    outputs = ((samples - 127) // 64 + 1 - 7) // 3 // 2  # the strides of its three convolutions
    centres = first_sample + FRAME_SAMPLES * np.arange(frames) + FRAME_SAMPLES // 2
    return np.clip(np.rint((centres - OUTPUT_CENTRE) / OUTPUT_HOP), 0, outputs - 1).astype(np.int64)


def _windows(audio: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows of a padded recording: audio, number of new 20 ms frames, sample at which the first begins."""
    frames = len(audio) // FRAME_SAMPLES
    padded = np.pad(np.asarray(audio, np.float32), EDGE)
    for start in range(0, frames * FRAME_SAMPLES, BATCH_STEP):
        new = min(BATCH_STEP, frames * FRAME_SAMPLES - start)
        first = max(0, start + EDGE - BATCH_MARGIN)
        yield padded[first : start + EDGE + new + BATCH_MARGIN], new // FRAME_SAMPLES, start + EDGE - first


class EncoderBackbone:
    """The encoder with its phone head; a large detector's keyword HMM reads its phones, and the decoder its states."""

    def __init__(self, graph: bytes | str, providers: Sequence[str] = (CPU,)) -> None:
        """Load ``model.large.encoder.window_graph``, from bytes or a file. Thread-safe.

        Args:
            providers: execution providers of onnxruntime; a GPU gets float weights, and batches of windows.
        """
        self.batch = 1 if tuple(providers) == (CPU,) else GPU_BATCH
        if self.batch > 1:
            import onnx

            model = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph)
            graph = with_float_weights(model).SerializeToString()
        self._session = session(graph, providers=providers)

    def encode(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return square roots of phone probabilities [samples // 320, width], and states [a fourth as many, 288]."""
        return self.encode_many([audio])[0]

    def encode_many(self, audios: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return :meth:`encode` of each recording; on a GPU, windows of equal length share a batch."""
        windows = [(number, *window) for number, audio in enumerate(audios) for window in _windows(audio)]
        outputs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        by_length: dict[int, list[int]] = {}
        for place, (_, audio, _, _) in enumerate(windows):
            by_length.setdefault(len(audio), []).append(place)
        for length, places in by_length.items():
            for start in range(0, len(places), self.batch):
                part = places[start : start + self.batch]
                given = {"audio": np.stack([windows[place][1] for place in part])}
                probabilities, states = self._session.run(["probabilities", "states"], given)
                for row, place in enumerate(part):
                    _, _, frames, first_sample = windows[place]
                    read = frame_positions(length, frames, first_sample)
                    outputs[place] = np.sqrt(probabilities[row, read]), states[row, read[::STATE_FRAMES]]
        none = tuple(np.zeros((0, int(output.shape[2])), np.float32) for output in self._session.get_outputs())
        parts: list[list[tuple[np.ndarray, ...]]] = [[none] for _ in audios]
        for place, (number, _, _, _) in enumerate(windows):
            parts[number].append(outputs[place])
        result = []
        for of_audio in parts:
            all_phones, all_states = zip(*of_audio)
            result.append((np.concatenate(all_phones), np.concatenate(all_states)))
        return result

    def window(self, audio: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the encoder on one window: square roots of phone probabilities [frames, width], and states."""
        probabilities, states = self._session.run(["probabilities", "states"], {"audio": audio[None]})
        places = frame_positions(len(audio), frames)
        return np.sqrt(probabilities[0, places]), states[0, places[::STATE_FRAMES]]


class SecondPass:
    """Scores the phrase wherever the keyword HMM has found a match (``model.large.second_pass``)."""

    def __init__(self, graph: bytes | str, above: float, before: int) -> None:
        """Load ``model.large.second_pass.second_pass_graph``, from bytes or a file.

        Args:
            above: the match score above which the second pass runs.
            before: number of states read before the end of a match.
        """
        self._graph, self._above, self._before = session(graph), above, before

    def gains(self, match: np.ndarray, roots: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Return the gain of each frame's match score [frames]; the frames of a match share the gain of its best one.

        Args:
            match: score of each frame [frames].
            roots, states: as returned by :meth:`EncoderBackbone.encode`.
        """
        gains = np.zeros(len(match), np.float32)
        above = np.concatenate([[False], match > self._above, [False]])
        edges = np.flatnonzero(above[1:] != above[:-1])
        for first, end in zip(edges[::2], edges[1::2]):
            frame = int(first + match[first:end].argmax())
            gains[first:end] = self.gain(roots, states, frame)
        return gains

    def gain(self, roots: np.ndarray, states: np.ndarray, frame: int) -> float:
        """Return the gain of the match score of a match that ends at ``frame``."""
        place = frame // STATE_FRAMES
        first, end = max(0, place - self._before), place + STATES_AFTER
        given = {
            "states": np.asarray(states[first:end], np.float32)[None],
            "heard": np.asarray(roots[STATE_FRAMES * first : STATE_FRAMES * end], np.float32)[None],
        }
        return float(self._graph.run(None, given)[0][0, 0])


@dataclass(frozen=True)
class EncoderFrontEnd(FrontEnd):
    """A speech encoder's phones.

    Attributes:
        graph: the ONNX file (:func:`model.large.encoder.window_graph`).
        keyword_hmm, second_pass: ONNX files for the second pass's gain, one more column; empty for none.
        above, before: see :class:`SecondPass`.
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
