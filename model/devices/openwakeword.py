"""A detector in openWakeWord's format: perceptrons on a window of 16 speech embeddings of 96 values.

Its TFLite file loads in Home Assistant's add-on and in every other program based on openWakeWord.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from core.onnx import CPU
from model.detector import DetectorConfig, scores_of_many
from model.devices.device_detector import Check, DeviceDetector, file_name, on_disk
from model.features import CHUNK_FRAMES, CHUNK_SAMPLES, HOP, StoredFrames, lead_in
from model.front_end import Compute, FrontEnd
from model.runtime.detector import logit, sigmoid
from model.standard.phrase_network import PhraseNetwork, PhraseNetworkConfig

WINDOW = 16  # embeddings, one per 80 ms
EMBEDDING = 96  # values per embedding
NETWORK = PhraseNetworkConfig(EMBEDDING, WINDOW, 1, members=6, projected=24, hidden=48)
EMBEDDED_FRAMES = 76  # number of 10 ms frames that an embedding depends on
MEL_SAMPLES = 480  # samples after a chunk that its last 10 ms frames extend into
MEL_BANDS = 32
BLOCK = 64  # embeddings computed together
FULL_SCALE = 32767.0


@dataclass(frozen=True)
class OpenWakeWordConfig(DetectorConfig):
    kind = "openwakeword"
    network: PhraseNetworkConfig = NETWORK

    @property
    def stored(self) -> StoredFrames:
        return StoredFrames(EMBEDDING, CHUNK_FRAMES, WINDOW, 1, EMBEDDED_FRAMES)


@dataclass(frozen=True)
class SpeechEmbedding(FrontEnd):
    """Google's public speech embedding as openWakeWord computes it: 96 values per 80 ms."""

    network: ClassVar[bool] = True

    def sound(self, audio: np.ndarray, low: int, high: int) -> np.ndarray:
        return audio[low * HOP : high * HOP + MEL_SAMPLES]

    def computer(self, providers: Sequence[str] = (CPU,)) -> Compute:
        embed = embedding()
        return lambda sounds: [embed(sound) for sound in sounds]


def embedding() -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that computes embeddings [n, EMBEDDING] of audio [samples] with openWakeWord's own networks.

    The embedding network is convolutional without padding, so it can process a block at once, with the same result as
    window by window, but twelve times as fast.

    Raises:
        ImportError: pyopen-wakeword is not installed.
    """
    from pyopen_wakeword import OpenWakeWordFeatures

    features = OpenWakeWordFeatures.from_builtin()
    block = EMBEDDED_FRAMES + CHUNK_FRAMES * (BLOCK - 1)
    mel = interpreter(features.lib, features.mel_model, (1, CHUNK_SAMPLES + MEL_SAMPLES))
    embedder = interpreter(features.lib, features.emb_model, (1, block, MEL_BANDS, 1))

    def embed(audio: np.ndarray) -> np.ndarray:
        assert features is not None  # keeps a reference to the interpreters' models
        samples = np.trunc(np.clip(audio, -1.0, 1.0) * FULL_SCALE)
        # One chunk per call, as in a stream: values more than 80 dB below the loudest frame of a call are clipped.
        starts = range(0, len(samples) - CHUNK_SAMPLES - MEL_SAMPLES + 1, CHUNK_SAMPLES)
        chunks = [samples[start : start + CHUNK_SAMPLES + MEL_SAMPLES] for start in starts]
        mels = [mel(chunk).reshape(-1, MEL_BANDS) / 10 + 2 for chunk in chunks]
        frames = np.concatenate([*mels, np.zeros((block, MEL_BANDS), np.float32)])
        count = max(0, (len(mels) * CHUNK_FRAMES - EMBEDDED_FRAMES) // CHUNK_FRAMES + 1)
        blocks = range(0, count * CHUNK_FRAMES, BLOCK * CHUNK_FRAMES)
        embeddings = [embedder(frames[at : at + block]).reshape(-1, EMBEDDING) for at in blocks]
        return np.concatenate([*embeddings, np.zeros((0, EMBEDDING), np.float32)])[:count]

    return embed


def interpreter(library: Any, model: Any, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a network on inputs of one shape, in one thread (four block each other)."""
    pointer, whole = ctypes.c_void_p, ctypes.c_int32
    library.TfLiteInterpreterOptionsCreate.restype = pointer
    library.TfLiteInterpreterOptionsSetNumThreads.argtypes = [pointer, whole]
    options = library.TfLiteInterpreterOptionsCreate()
    library.TfLiteInterpreterOptionsSetNumThreads(options, 1)
    network = library.TfLiteInterpreterCreate(model, options)
    sizes = (whole * len(shape))(*shape)
    library.TfLiteInterpreterResizeInputTensor(network, whole(0), sizes, whole(len(shape)))
    library.TfLiteInterpreterAllocateTensors(network)
    given = library.TfLiteInterpreterGetInputTensor(network, whole(0))
    output = library.TfLiteInterpreterGetOutputTensor(network, whole(0))

    def run(values: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(values, np.float32)
        outcome = np.empty(library.TfLiteTensorByteSize(output) // 4, np.float32)
        library.TfLiteTensorCopyFromBuffer(given, values.ctypes.data_as(pointer), ctypes.c_size_t(values.nbytes))
        library.TfLiteInterpreterInvoke(network)
        library.TfLiteTensorCopyToBuffer(output, outcome.ctypes.data_as(pointer), ctypes.c_size_t(outcome.nbytes))
        return outcome

    return run


class OpenWakeWordDetector(DeviceDetector):
    device = "openwakeword"
    step_share, batch_size, learning_rate = 0.67, 128, 1e-3
    tolerance = 1e-3
    front_end_id = "speech-embedding"
    config: OpenWakeWordConfig

    def __init__(self, config: OpenWakeWordConfig | None = None) -> None:
        super().__init__()
        self.config = config or OpenWakeWordConfig()
        self.network = PhraseNetwork(self.config.network)

    @classmethod
    def untrained(cls) -> OpenWakeWordDetector:
        embedding()
        return cls()

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings [batch, WINDOW + n - 1, EMBEDDING] to logits [batch, n, members]."""
        logits: Tensor = self.network(embeddings)
        return logits

    def front_end(self, folder: Path) -> FrontEnd:
        return SpeechEmbedding(self.config.stored)

    @torch.no_grad()
    def scores(self, stored: np.ndarray) -> np.ndarray:
        self.eval()
        scores: np.ndarray = torch.sigmoid(self(torch.from_numpy(stored)).mean(dim=2)).numpy()
        return scores

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        embeddings = embedding()(lead_in(audio, self.config.receptive_samples + MEL_SAMPLES))
        return scores_of_many(self, [embeddings])[0]

    def export(self, path: Path) -> int:
        path.write_bytes(self.tflite())
        return 0

    def files(self, phrase: str, language: str, cutoff: float) -> dict[str, bytes]:
        return {f"{self.device}/{file_name(phrase)}.tflite": self.tflite(float(logit(cutoff)))}

    def check(self, files: Mapping[str, bytes], audio: np.ndarray, cutoff: float) -> Check:
        from pyopen_wakeword import OpenWakeWord

        embeddings = embedding()(audio)
        with on_disk(files) as paths:
            runtime = OpenWakeWord.from_model(paths[".tflite"])
            in_runtime = [score for one in embeddings for score in runtime.process_streaming(one[None, None, None])]
        here = sigmoid(logit(self.scores(embeddings[None])[0]) - logit(cutoff))
        difference = float(np.abs(here - np.asarray(in_runtime)[-len(here) :]).max())
        return Check(difference, "TensorFlow Lite")

    @torch.no_grad()
    def tflite(self, threshold: float = 0.0) -> bytes:
        """Return the TFLite file: float32 [1, WINDOW, EMBEDDING] to a probability [1, 1].

        Args:
            threshold: the logit that maps to the probability 0.5, openWakeWord's usual threshold.
        """
        import tflite

        from model.devices.tflite_file import TFLiteFile

        file = TFLiteFile("openWakeWord head by Hark")
        graph = file.graph("main")
        embeddings = graph.tensor("embeddings", (1, WINDOW, EMBEDDING), "float32")
        graph.inputs = (embeddings,)

        def layer(name: str, given: int, weight: Tensor, bias: Tensor, rows: int = 1, last: bool = False) -> int:
            constants = [graph.constant(f"{name}/{part}", v.numpy()) for part, v in (("w", weight), ("b", bias))]
            result = graph.tensor(name, (rows, len(bias)), "float32")
            function = tflite.ActivationFunctionType.NONE if last else tflite.ActivationFunctionType.RELU
            graph.add(
                "FULLY_CONNECTED", (given, *constants), (result,), "FullyConnectedOptions",
                FusedActivationFunction=function,
            )  # fmt: skip
            return result

        shape = self.config.network
        weight, bias = self.network.projection()
        hidden, last_weights, last_biases = [], [], []
        for number, (first, last) in enumerate(self.network.layers()):
            part = slice(number * shape.projected, (number + 1) * shape.projected)
            projected = layer(f"projected{number}", embeddings, weight[part], bias[part], WINDOW)
            size = (1, WINDOW * shape.projected)
            flat = graph.tensor(f"flat{number}", size, "float32")
            graph.add(
                "RESHAPE", (projected, graph.constant(f"flat{number}/shape", np.asarray(size, np.int32))), (flat,),
                "ReshapeOptions",
            )  # fmt: skip
            hidden.append(layer(f"hidden{number}", flat, first.weight, first.bias))
            last_weights.append(last.weight / shape.members)
            last_biases.append(last.bias / shape.members)
        joined = graph.tensor("hidden", (1, shape.members * shape.hidden), "float32")
        graph.add("CONCATENATION", tuple(hidden), (joined,), "ConcatenationOptions", Axis=1)
        mean = torch.stack(last_biases).sum(dim=0) - threshold
        summed = layer("logit", joined, torch.cat(last_weights, dim=1), mean, last=True)
        probability = graph.tensor("probability", (1, 1), "float32")
        graph.add("LOGISTIC", (summed,), (probability,))
        graph.outputs = (probability,)
        return file.to_bytes()
