"""A detector in microWakeWord's format (:mod:`model.devices.micro_network`), for ESPHome's ``micro_wake_word``."""

from __future__ import annotations

import copy
import json
import math
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.detector import DetectorConfig, scores_of_many
from model.devices.device_detector import Check, DeviceDetector, file_name, on_disk
from model.devices.micro_network import (
    FEATURES,
    STRIDE,
    MicroNetwork,
    MicroShape,
    QuantizedMicroNetwork,
    shipped_micro_network,
)
from model.feature_augmentation import mask, warp_frequency
from model.features import CHUNK_FRAMES, HOP, SAMPLE_RATE, StoredFrames, lead_in
from model.front_end import FrontEnd
from model.runtime.detector import sigmoid

AVERAGED = 5  # number of probabilities, one per 30 ms, that a device averages before it compares them with its cutoff
WARM_UP_S = 1.0  # seconds in which the features adapt to the background noise
CERTAIN = 1e-5  # in training, probabilities are clipped to within this distance of 0 and 1
FULL_SCALE = 32767.0
# Bytes of memory that a device reserves for the network. TFLite Micro needs 22,900 on a computer, and up to 1.4 times
# as many on an ESP32-S3 (esphome#17750). The margin leaves room for later kernels.
ARENA, ARENA_MARGIN = 48_000, 2.0
KERNEL_STEPS = 4  # 8-bit steps of a logit by which the kernels of TensorFlow Lite may differ from those of devices


@dataclass(frozen=True)
class MicroConfig(DetectorConfig):
    """The shape of the network; ``quantized`` means that its values are those of the file."""

    kind = "microwakeword"
    shape: MicroShape = field(default_factory=MicroShape)
    quantized: bool = False

    @property
    def stored(self) -> StoredFrames:
        window = STRIDE * (self.shape.steps + AVERAGED - 1) + CHUNK_FRAMES
        return StoredFrames(FEATURES, 1, window, CHUNK_FRAMES, 1)

    @property
    def receptive_samples(self) -> int:
        return super().receptive_samples + round(WARM_UP_S * SAMPLE_RATE)


@dataclass(frozen=True)
class MicroFeatures(FrontEnd):
    """The 40 features (0 to 26) per 10 ms of TensorFlow's microfrontend, which adapts to noise and level."""

    network: ClassVar[bool] = False

    def sound(self, audio: np.ndarray, low: int, high: int) -> np.ndarray:
        features: np.ndarray = micro_features()(audio[: (high + 2) * HOP])[low:high]
        return features


def micro_features() -> Any:
    """Return a function that maps audio [samples] to features [frames, FEATURES].

    Raises:
        ImportError: pymicro-features is not installed.
    """
    from pymicro_features import MicroFrontend

    def hear(audio: np.ndarray) -> np.ndarray:
        frontend = MicroFrontend()
        raw = (np.clip(audio, -1.0, 1.0) * FULL_SCALE).astype("<i2").tobytes()
        step = 2 * HOP
        given = (frontend.process_samples(raw[at : at + step]).features for at in range(0, len(raw) - step + 1, step))
        frames = [frame for frame in given if frame]  # the result is empty until the first window is full
        return np.asarray(frames, np.float32).reshape(-1, FEATURES)

    return hear


class MicroDetector(DeviceDetector):
    """A streaming convolutional network with 35,000 parameters, in 8 bits on its device."""

    device = "esphome"
    step_share, batch_size, learning_rate = 1.0, 96, 3e-3
    tolerance = 1.5 / 256
    front_end_id = "micro-features"
    end_jitter = (4, 24)
    config: MicroConfig

    def __init__(self, config: MicroConfig | None = None) -> None:
        super().__init__()
        self.config = config or MicroConfig()
        kind = QuantizedMicroNetwork if self.config.quantized else MicroNetwork
        self.network: MicroNetwork | QuantizedMicroNetwork = kind(self.config.shape)

    @classmethod
    def untrained(cls) -> MicroDetector:
        """Return a detector pretrained on real speech, without a phrase.

        Raises:
            ImportError: pymicro-features is not installed.
            HarkError: the weights are damaged.
        """
        micro_features()
        network, _ = shipped_micro_network()
        detector = cls(MicroConfig(network.config))
        detector.network = network
        return detector

    def forward(self, stored: Tensor) -> Tensor:
        """Map features [batch, window + 8 (n - 1), FEATURES] to logits [batch, n] of the highest mean within 80 ms."""
        means = functional.avg_pool1d(torch.sigmoid(self.network(stored))[:, None], AVERAGED, 1)[:, 0]
        count = self.config.stored.scores(stored.shape[1])
        last = (self.config.stored.window + CHUNK_FRAMES * torch.arange(count)) // STRIDE - AVERAGED
        within = last[:, None] - torch.arange(-(-CHUNK_FRAMES // STRIDE))
        best = means[:, within.to(means.device)].amax(dim=2)
        return torch.logit(best, CERTAIN)

    def augmented(self, windows: Tensor, rng: np.random.Generator) -> Tensor:
        return mask(warp_frequency(windows, rng), rng, 0.0)

    def front_end(self, folder: Path) -> FrontEnd:
        return MicroFeatures(self.config.stored)

    @torch.no_grad()
    def scores(self, stored: np.ndarray) -> np.ndarray:
        self.eval()
        scores: np.ndarray = torch.sigmoid(self(torch.from_numpy(stored))).numpy()
        return scores

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        need = self.config.receptive_samples
        features = micro_features()(lead_in(audio, need))
        return scores_of_many(self, [features])[0][-(len(audio) // (CHUNK_FRAMES * HOP)) :]

    def export(self, path: Path) -> int:
        path.write_bytes(self.tflite())
        return 0

    def tflite(self) -> bytes:
        """Return the TFLite file of the 8-bit network."""
        assert isinstance(self.network, QuantizedMicroNetwork)
        return self.network.tflite()

    def files(self, phrase: str, language: str, cutoff: float) -> dict[str, bytes]:
        """Return the network and its manifest (ESPHome, ``micro_wake_word``, version 2)."""
        name = file_name(phrase)
        manifest = {
            "type": "micro",
            "wake_word": string.capwords(phrase),
            "author": "Hark",
            "model": f"{name}.tflite",
            "trained_languages": [language],
            "version": 2,
            "micro": {
                "probability_cutoff": round((_whole_step(cutoff) + 0.5) / 255, 4),  # a device takes steps of 1/255
                "feature_step_size": 10,
                "sliding_window_size": AVERAGED,
                "tensor_arena_size": ARENA,
                "minimum_esphome_version": "2024.7.0",
            },
        }
        return {
            f"{self.device}/{name}.json": json.dumps(manifest, indent=2).encode(),
            f"{self.device}/{name}.tflite": self.tflite(),
        }

    def check(self, files: Mapping[str, bytes], audio: np.ndarray, cutoff: float) -> Check:
        """Compare itself with its file in TFLite Micro or, without the package tflite-micro, in TensorFlow Lite.

        Of a difference in TensorFlow Lite, only the excess over :data:`KERNEL_STEPS` counts.
        """
        assert isinstance(self.network, QuantizedMicroNetwork)
        features = micro_features()(audio)
        features = features[: len(features) // STRIDE * STRIDE]
        try:
            in_runtime, steps, name = in_tflite_micro(files, features), 0, "TFLite Micro"
        except ImportError:
            in_runtime, steps, name = _in_tensorflow_lite(files, features), KERNEL_STEPS, "TensorFlow Lite"
        logits = self.network.device_logits(torch.from_numpy(features)[None])[0].numpy()
        low, high = (sigmoid(logits + by * self.network.logit_step) for by in (-steps, steps))
        outside = np.maximum(low - in_runtime, in_runtime - high)
        return Check(float(np.maximum(outside, 0.0).max()), name)

    def in_8_bits(self, features: np.ndarray) -> MicroDetector:
        """Return the detector with the file's 8-bit values; ``features`` [batch, time, FEATURES] set their ranges."""
        assert isinstance(self.network, MicroNetwork)
        detector = MicroDetector(MicroConfig(self.config.shape, quantized=True))
        detector.network = self.network.eval().quantized(torch.from_numpy(features))
        return detector

    @torch.no_grad()
    def lowered(self, by: float) -> MicroDetector:
        """Return the 8-bit detector with its logits lowered by ``by``."""
        assert isinstance(self.network, QuantizedMicroNetwork)
        detector = copy.deepcopy(self)
        network = detector.network
        assert isinstance(network, QuantizedMicroNetwork)
        bias = network.convolutions[-1].bias
        assert bias is not None
        bias -= by
        low, high = (network.ranges[-1] - by).tolist()
        network.ranges[-1] = torch.tensor([min(low, 0.0), max(high, 1e-3)])
        return detector


def in_tflite_micro(files: Mapping[str, bytes], features: np.ndarray) -> np.ndarray:
    """Return the probabilities [time / STRIDE] of features [time, FEATURES].

    The interpreter gets half of the memory that devices reserve.
    """
    from tflite_micro import runtime

    (file,) = (content for name, content in files.items() if name.endswith(".tflite"))
    interpreter = runtime.Interpreter.from_bytes(file, arena_size=round(ARENA / ARENA_MARGIN))
    quantization = interpreter.get_input_details(0)["quantization_parameters"]
    scale, zero = quantization["scales"][0], quantization["zero_points"][0]
    values = np.clip(np.round(features / scale) + zero, -128, 127).astype(np.int8).reshape(-1, 1, STRIDE, FEATURES)
    outputs = []
    for frames in values:
        interpreter.set_input(frames, 0)
        interpreter.invoke()
        outputs.append(int(interpreter.get_output(0).item()))
    return np.asarray(outputs) / 256


def _in_tensorflow_lite(files: Mapping[str, bytes], features: np.ndarray) -> np.ndarray:
    from pymicro_wakeword import MicroWakeWord

    with on_disk(files) as paths:
        manifest = json.loads(paths[".json"].read_text())
        manifest["micro"]["sliding_window_size"] = 1  # each probability instead of means
        paths[".json"].write_text(json.dumps(manifest))
        runtime = MicroWakeWord.from_config(paths[".json"])
        outputs = [runtime.process_streaming_prob(frame[None, None]) for frame in features]
    return np.asarray(outputs[STRIDE - 1 :: STRIDE])


def _whole_step(cutoff: float) -> int:
    """Return the 8-bit step that represents a threshold on a device.

    A device triggers if the mean of its last outputs exceeds that step. A mean moves in fractions of a step, so the
    device never triggers below the threshold for which false alarms were counted.
    """
    return math.ceil(256 * cutoff - 1 / AVERAGED)
