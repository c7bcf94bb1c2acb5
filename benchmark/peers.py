"""Other projects' wake word models, run as their projects run them, to be measured on the same streams.

Nothing of them is part of Hark: the models lie outside of the repository (``peers/`` of the shared audio), and what
runs microWakeWord's (ai-edge-litert, pymicro-features) need not be installed. What cannot be run here is told with the
reason and left out.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.onnx import session
from phrase_augmentation.normalize import normalize

VERSION = 1  # of the code here: raised with a change that changes scores, so that kept ones are not used
USUAL_THRESHOLD = 0.5  # openWakeWord's default
WARM_UP_S = 4.0  # of silence before the stream; longer than anything here remembers

# openWakeWord (github.com/dscripka/openWakeWord, openwakeword/utils.py, AudioFeatures)
SHARED_MODELS = ("melspectrogram.onnx", "embedding_model.onnx")
MEL_BANDS = 32
MEL_HOP = 160  # samples
MEL_CONTEXT = 480  # samples before a chunk that its first frames reach back to
CHUNK = 1280  # samples: 80 ms, 8 mel frames
EMBEDDING_FRAMES = 76  # mel frames to an embedding
EMBEDDING_SIZE = 96
HEAD_EMBEDDINGS = 16  # embeddings to a score
EMBEDDING_BATCH = 32

# microWakeWord (github.com/kahrendt/microWakeWord, microwakeword/inference.py; ESPHome's micro_wake_word)
MICRO_BANDS = 40
MICRO_HOP = 160  # samples


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{VERSION} {WARM_UP_S}".encode())
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


def _as_16_bit(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


class OpenWakeWord:
    """openWakeWord: log-mels, Google's speech embedding each 80 ms, and a small head for each phrase.

    One instance is one stream, scored for all phrases together.

    Attributes:
        name: of the project.
        phrases: what it listens for.
        thresholds: at which it fires unless told otherwise, for each phrase.
        score_period_s: seconds a score.
        digest: of the models and of the code that runs them.
    """

    name = "openWakeWord"
    score_period_s = CHUNK / SAMPLE_RATE

    def __init__(self, folder: Path, heads: Sequence[Path]) -> None:
        """Load ``melspectrogram.onnx``, ``embedding_model.onnx`` and the heads. Raises what onnxruntime raises."""
        self._mel_model, self._embedding_model = (session(folder / name) for name in SHARED_MODELS)
        self._heads = [session(path) for path in heads]
        # "hey_jarvis_v0.1.onnx"
        self.phrases = tuple(normalize(path.name.split("_v0")[0].split(".onnx")[0].replace("_", " ")) for path in heads)
        self.thresholds = (USUAL_THRESHOLD,) * len(heads)
        self.digest = _digest([*(folder / name for name in SHARED_MODELS), *heads])
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._pending = np.zeros(MEL_CONTEXT, np.float32)  # begins with the context of the next chunk
        self._mels = np.zeros((EMBEDDING_FRAMES - CHUNK // MEL_HOP, MEL_BANDS), np.float32)
        self._embeddings = np.zeros((HEAD_EMBEDDINGS - 1, EMBEDDING_SIZE), np.float32)
        self.scores(np.zeros(round(WARM_UP_S * SAMPLE_RATE), np.float32))

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Scores [n, phrases], one for each 80 ms."""
        self._pending = np.concatenate([self._pending, _as_16_bit(samples).astype(np.float32)])
        chunks = (len(self._pending) - MEL_CONTEXT) // CHUNK
        if chunks == 0:
            return np.zeros((0, len(self.phrases)), np.float32)
        # One chunk a call, as in a live stream: the model limits its range to 80 dB below the loudest frame of a call.
        mels: list[np.ndarray] = [self._mels]
        for start in range(0, chunks * CHUNK, CHUNK):
            heard = self._pending[None, start : start + MEL_CONTEXT + CHUNK]
            mels.append(_run(self._mel_model, heard).reshape(-1, MEL_BANDS) / 10.0 + 2.0)
        self._pending = self._pending[chunks * CHUNK :]
        frames = np.concatenate(mels).astype(np.float32)
        step = CHUNK // MEL_HOP
        windows = np.lib.stride_tricks.sliding_window_view(frames, EMBEDDING_FRAMES, axis=0)[::step].transpose(0, 2, 1)
        self._mels = frames[chunks * step :]
        new = [
            _run(self._embedding_model, np.ascontiguousarray(windows[start : start + EMBEDDING_BATCH, ..., None]))
            for start in range(0, chunks, EMBEDDING_BATCH)
        ]
        embeddings = np.concatenate([self._embeddings, *(part.reshape(-1, EMBEDDING_SIZE) for part in new)])
        self._embeddings = embeddings[chunks:]
        scores = np.empty((chunks, len(self._heads)), np.float32)
        for index in range(chunks):
            window = embeddings[None, index : index + HEAD_EMBEDDINGS]
            scores[index] = [_run(head, window).item() for head in self._heads]
        return scores


def _run(session: Any, value: np.ndarray) -> np.ndarray:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: value})[0])


class MicroWakeWord:
    """microWakeWord: TensorFlow's micro frontend and one quantized streaming network, which keeps its own state.

    Attributes as of :class:`OpenWakeWord`.
    """

    name = "microWakeWord"

    def __init__(self, model: Path) -> None:
        """Load a model and the ``.json`` beside it. Raises ImportError where a package is missing."""
        self._litert: Any = importlib.import_module("ai_edge_litert.interpreter")
        self._micro_features: Any = importlib.import_module("pymicro_features")
        description = model.with_suffix(".json")
        told: Mapping[str, Any] = json.loads(description.read_text())
        self.phrases: tuple[str, ...] = (normalize(str(told["wake_word"])),)
        self.thresholds: tuple[float, ...] = (float(told["micro"]["probability_cutoff"]),)
        self._averaged = int(told["micro"]["sliding_window_size"])
        self._model = model.read_bytes()
        self.digest = _digest([model, description])
        self.reset()
        self.score_period_s = self._stride * MICRO_HOP / SAMPLE_RATE

    def reset(self) -> None:
        """Forget everything heard."""
        # A new interpreter: its variables keep their values through `reset_all_variables`.
        self._interpreter = self._litert.Interpreter(model_content=self._model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._stride = int(self._input["shape"][1])
        self._frontend = self._micro_features.MicroFrontend()
        self._pending = np.zeros(0, np.int16)
        self._features: list[Sequence[float]] = []
        self._before = np.zeros(self._averaged - 1, np.float32)
        self.scores(np.zeros(round(WARM_UP_S * SAMPLE_RATE), np.float32))

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Scores [n, 1], one each stride of the network (30 ms)."""
        self._pending = np.concatenate([self._pending, _as_16_bit(samples)])
        usable = len(self._pending) // MICRO_HOP * MICRO_HOP
        raw, hop = self._pending[:usable].tobytes(), 2 * MICRO_HOP
        self._pending = self._pending[usable:]
        for start in range(0, len(raw), hop):
            features = self._frontend.process_samples(raw[start : start + hop]).features
            if features:  # none comes before the first window is full
                self._features.append(features)
        inputs = len(self._features) // self._stride
        values = np.asarray(self._features[: inputs * self._stride], np.float32)
        self._features = self._features[inputs * self._stride :]
        scale, zero = self._input["quantization"]
        quantized = np.clip(np.round(values / scale + zero), -128, 127).astype(np.int8)
        out_scale, out_zero = self._output["quantization"]
        outputs = np.empty(inputs, np.float32)
        for index, window in enumerate(quantized.reshape(inputs, 1, self._stride, MICRO_BANDS)):
            self._interpreter.set_tensor(self._input["index"], window)
            self._interpreter.invoke()
            outputs[index] = self._interpreter.get_tensor(self._output["index"]).item()
        joined = np.concatenate([self._before, (outputs - out_zero) * out_scale])
        self._before = joined[inputs:]
        if inputs == 0:
            return np.zeros((0, 1), np.float32)
        means = np.convolve(joined, np.full(self._averaged, 1.0 / self._averaged), "valid")
        return means[:, None].astype(np.float32)


Peer = OpenWakeWord | MicroWakeWord


def open_peers(folder: Path) -> tuple[list[Peer], dict[str, str]]:
    """The peers whose models lie under ``folder`` and can run here; and for each that cannot, why."""
    peers: list[Peer] = []
    missing: dict[str, str] = {}

    def add(name: str, opened: Callable[[], Peer]) -> None:
        try:
            peers.append(opened())
        except ImportError as error:
            missing[name] = f"{error} (pip install ai-edge-litert pymicro-features)"
        except Exception as error:  # of a damaged file: onnxruntime and the interpreter have no common class
            missing[name] = f"{type(error).__name__}: {str(error)[:200]}"

    models = folder / "openwakeword"
    heads = [path for path in sorted(models.glob("*.onnx")) if path.name not in SHARED_MODELS]
    lacking = [file for file in SHARED_MODELS if not (models / file).is_file()]
    if lacking or not heads:
        missing[OpenWakeWord.name] = f"{models} has no {' and no '.join(lacking) or 'head (such as alexa_v0.1.onnx)'}"
    else:
        add(OpenWakeWord.name, lambda: OpenWakeWord(models, heads))
    micro = sorted((folder / "microwakeword").glob("*.tflite"))
    if not micro:
        missing[MicroWakeWord.name] = f"{folder / 'microwakeword'} has no *.tflite"
    for model in micro:
        add(f"{MicroWakeWord.name} {model.stem}", partial(MicroWakeWord, model))
    return peers, missing
