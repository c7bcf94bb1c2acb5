"""The cost of running a detector: its share of one core, and the bytes of its model files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import Figures
from core.events import Reporter
from lab import BenchOptions

if TYPE_CHECKING:
    from model.detector import Detector

PHRASE, WINDOW_S = "hey compass", 1.6
STREAM_S = 60.0  # seconds of audio, 80 ms per call, as on a device
WARM_UP = 20  # calls before the measurement


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return ``share_of_core`` (CPU time / audio duration) and ``bytes`` of each size and form, and of openWakeWord.

    The detectors are built as in a run: the large one on the encoder, the others on the shipped backbone, except that
    ``from_nothing`` is built as with ``--from-scratch``. The audio is noise, which never matches a phrase, so a large
    detector's decoder does not run.
    """
    from model.export import quantize_weights

    reporter.stage("bench", "Measuring detectors")
    audio = (0.1 * np.random.default_rng(options.seed).standard_normal(int(STREAM_S * 16_000))).astype(np.float32)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        for name, model in _models(options.seed):
            full, small = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}.int8.onnx"
            state_size = model.export(full)
            figures[name] = {
                "parameters": model.parameter_count(),
                "fp32": {"bytes": full.stat().st_size, **_cost(_stream(full, state_size), audio)},
            }
            if model.quantizes:
                quantize_weights(full, small)
                figures[name]["int8"] = {"bytes": small.stat().st_size, **_cost(_stream(small, state_size), audio)}
    figures["openwakeword"] = _openwakeword(audio)
    return figures


def _models(seed: int) -> Iterator[tuple[str, Detector]]:
    import torch

    from model.large.decoder_tokens import spellings
    from model.large.encoder_backbone import encoder_path
    from model.large.encoder_detector import EncoderDetector
    from model.large.second_pass import verifier_name
    from model.phones import outputs_of
    from model.standard.backbone import shipped_backbone
    from model.standard.fused_detector import FusedDetector
    from model.tiny_crnn import TinyCRNN, TinyCRNNConfig
    from phrase_augmentation.keyphrase import Keyphrase

    phrase = outputs_of(Keyphrase(PHRASE))
    torch.manual_seed(seed)
    if encoder_path() is not None:
        yield "large", EncoderDetector.of_phrase(phrase, WINDOW_S, spellings(PHRASE), verifier=verifier_name())
    yield "standard", FusedDetector.of_phrase(shipped_backbone()[0], phrase, WINDOW_S)
    yield "from_nothing", TinyCRNN(TinyCRNNConfig.for_window(WINDOW_S)).eval()


def _openwakeword(audio: np.ndarray) -> Figures:
    """Measure openWakeWord's networks with one head, in its own runtime, on one thread."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    from model.devices.openwakeword import EMBEDDED_FRAMES, EMBEDDING, MEL_BANDS, MEL_SAMPLES, WINDOW, interpreter
    from model.features import CHUNK_FRAMES, CHUNK_SAMPLES

    features, head = OpenWakeWordFeatures.from_builtin(), OpenWakeWord.from_builtin(Model.ALEXA)
    mel = interpreter(features.lib, features.mel_model, (1, CHUNK_SAMPLES + MEL_SAMPLES))
    embed = interpreter(features.lib, features.emb_model, (1, EMBEDDED_FRAMES, MEL_BANDS, 1))
    score = interpreter(features.lib, head.model, (1, WINDOW, EMBEDDING))
    samples = np.zeros(CHUNK_SAMPLES + MEL_SAMPLES, np.float32)
    frames = np.zeros((EMBEDDED_FRAMES, MEL_BANDS), np.float32)
    window = np.zeros((WINDOW, EMBEDDING), np.float32)

    def push(buffer: np.ndarray, new: np.ndarray) -> None:
        buffer[: -len(new)] = buffer[len(new) :]
        buffer[-len(new) :] = new

    def hear(chunk: np.ndarray) -> None:
        push(samples, np.trunc(32767 * chunk))
        push(frames, mel(samples).reshape(CHUNK_FRAMES, MEL_BANDS) / 10 + 2)
        push(window, embed(frames)[None])
        score(window)

    files = (features.mel_path, features.emb_path, head.tflite_model)
    return {"bytes": sum(path.stat().st_size for path in files), **_cost(hear, audio)}


def _stream(path: Path, state_size: int) -> Callable[[np.ndarray], object]:
    from core.onnx import session

    graph = session(str(path))
    state = np.zeros((1, state_size), np.float32)

    def hear(chunk: np.ndarray) -> None:
        nonlocal state
        _, state = graph.run(None, {"audio": chunk[None], "state": state})

    return hear


def _cost(hear: Callable[[np.ndarray], object], audio: np.ndarray) -> dict[str, float]:
    from model.features import CHUNK_SAMPLES

    chunks = [audio[start : start + CHUNK_SAMPLES] for start in range(0, len(audio), CHUNK_SAMPLES)]
    for chunk in chunks[:WARM_UP]:
        hear(chunk)
    wall, started = time.perf_counter(), time.process_time()
    for chunk in chunks:
        hear(chunk)
    spent, elapsed = time.process_time() - started, time.perf_counter() - wall
    return {"share_of_core": round(spent / STREAM_S, 5), "ms_a_chunk": round(1000 * elapsed / len(chunks), 3)}
