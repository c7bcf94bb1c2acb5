"""A detector of a 1 kHz tone as a real bundle, files for devices, and a folder of test recordings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmark import synthetic
from core.audio_file import SAMPLE_RATE, write_audio
from model.devices.micro_network import MicroNetwork
from model.devices.openwakeword import OpenWakeWordDetector
from model.runtime.detector import manifest_digest
from tests.support.constants import replace_in
from tests.support.sounds import noise, tone

CHUNK = 1280


def save_model(path: Path, nodes: list[Any], inputs: Mapping[str, list[Any]], outputs: Mapping[str, list[Any]],
               constants: Mapping[str, np.ndarray]) -> Path:  # fmt: skip
    """Save an ONNX file of float inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def tone_bundle(
    folder: Path, phrase: str = "computer", gain: float = 60.0, report: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None, **manifest: Any,
) -> Path:  # fmt: skip
    """Unpack a bundle, with ``files``, whose score is ``gain`` times the power of 1 kHz in 80 ms, at most 1."""
    time = np.arange(CHUNK) / SAMPLE_RATE
    waves = np.stack([np.sin(2 * np.pi * 1000 * time), np.cos(2 * np.pi * 1000 * time)], axis=1) / CHUNK
    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["chunks"]),
        helper.make_node("MatMul", ["chunks", "waves"], ["found"]),
        helper.make_node("ReduceSumSquare", ["found"], ["power"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["power", "gain"], ["loud"]),
        helper.make_node("Min", ["loud", "one"], ["limited"]),
        helper.make_node("Unsqueeze", ["limited", "first"], ["score"]),
        helper.make_node("Identity", ["state"], ["new_state"]),
    ]
    constants = {
        "shape": np.array([-1, CHUNK], np.int64),
        "waves": waves.astype(np.float32),
        "gain": np.array(gain, np.float32),
        "one": np.array(1.0, np.float32),
        "first": np.array([0], np.int64),
    }
    model = save_model(
        folder / "model.onnx", nodes, {"audio": [1, "n"], "state": [1, 1]}, {"score": [1, "m"], "new_state": [1, 1]},
        constants,
    )  # fmt: skip
    (folder / "model.int8.onnx").write_bytes(model.read_bytes())
    (folder / "report.json").write_text(json.dumps(report or {}))
    for name, data in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    names = ("model.onnx", "model.int8.onnx", "report.json", *(files or ()))
    content = {
        "schema": 1, "phrase": phrase, "language": "en", "sample_rate": SAMPLE_RATE, "chunk_samples": CHUNK,
        "score_period_s": 0.08, "smoothing_frames": 2, "refractory_s": 1.0, "receptive_samples": CHUNK, "state_size": 1,
        "thresholds": [{"fa_per_day": 12.0, "threshold": 0.5}], "default_fa_per_day": 12.0,
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
        **manifest,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({**content, "digest": manifest_digest(content)}))
    return folder


def device_files(name: str = "computer", seed: int = 0) -> dict[str, bytes]:
    """Return files for devices, of untrained networks, by their names in a bundle."""
    torch.manual_seed(seed)
    micro, heard = MicroNetwork().eval(), 26 * torch.rand(4, 200, 40)
    with torch.no_grad():
        last = micro.convolutions[-1]
        assert last.bias is not None
        last.weight *= 100.0  # otherwise its scores lie closely around 0.5
        last.bias -= micro(heard).mean()
    network = micro.quantized(heard)
    manifest = {
        "wake_word": name.title(), "model": f"{name}.tflite",
        "micro": {"probability_cutoff": 0.97, "sliding_window_size": 5},
    }  # fmt: skip
    return {
        f"esphome/{name}.json": json.dumps(manifest).encode(),
        f"esphome/{name}.tflite": network.tflite(),
        f"openwakeword/{name}.tflite": OpenWakeWordDetector().tflite(),
    }


def recordings(folder: Path) -> Path:
    """Make audio like the shared one: tones of 1 kHz for "computer", two of eight faint; other tones; a hiss."""
    rng = np.random.default_rng(1)
    for number in range(8):
        path = folder / "keyphrases" / "computer" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, tone(0.6, 1000, 0.0005 if number < 2 else 0.3))
    for name in ("librispeech-dev-clean", "librispeech-test-other", "commonvoice-mini"):
        for number in range(12):
            path = folder / "speech" / name / "audio" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            # One in twelve sounds a little like the phrase.
            alike = number == 5
            pitch = 1000.0 if alike else float(rng.choice([300.0, 450.0, 2300.0]))
            write_audio(path, tone(2.0, pitch, 0.005 if alike else 0.3))
    hiss = folder / "noise" / "speech-commands" / "doing_the_dishes.ogg"
    hiss.parent.mkdir(parents=True)
    wav = hiss.with_suffix(".wav")
    write_audio(wav, noise(5.0))
    wav.rename(hiss)  # the content, not the name, determines the file type
    return folder


def speak_with(monkeypatch: pytest.MonkeyPatch, engines: Mapping[str, Any], texts: int = 100) -> None:
    """Let these engines speak the benchmark's phrases, twenty times each, and some of so many confusables."""
    replace_in(synthetic, monkeypatch, default_engines=lambda: engines, EMBEDDED_ENGINES=tuple(engines))
    replace_in(synthetic, monkeypatch, CONFUSABLE_TEXTS=texts, POSITIVE_CLIPS=20)
