"""What a detector costs where it runs: its share of one core, and the bytes of its model files."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.benchmark import BenchOptions, Figures
from pipeline.config import SIZES
from pipeline.events import Reporter

PHRASE, WINDOW_S = "hey compass", 1.6
STREAM_S = 60.0  # of audio, 80 ms a call, as a device does it


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """For each size and form: ``share_of_core`` (processor time over audio time) and ``bytes``.

    The sound is noise: it never matches a phrase, so a large detector's decoder is not asked."""
    import torch

    from model.encoder_trunk import encoder_path
    from model.export import export_onnx, quantize_weights
    from model.model import TinyCRNN, TinyCRNNConfig
    from model.rescoring import spellings
    from model.shipped_weights import shipped_trunk
    from pipeline.examples_plan import pronunciations_by_accent

    reporter.stage("bench", "Measuring detectors")
    audio = (0.1 * np.random.default_rng(options.seed).standard_normal(int(STREAM_S * 16_000))).astype(np.float32)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        for size in SIZES:
            torch.manual_seed(options.seed)
            if size == "large":
                if encoder_path() is None:
                    continue
                phrase = pronunciations_by_accent(PHRASE, "en")
                config = TinyCRNNConfig.of_size(size, WINDOW_S, shipped_trunk(size)[0].config, phrase)
                config = replace(config, spellings=spellings(PHRASE))
            else:
                config = TinyCRNNConfig.of_size(size, WINDOW_S)
            model = TinyCRNN(config).eval()
            full, small = Path(folder) / f"{size}.onnx", Path(folder) / f"{size}.int8.onnx"
            state_size = export_onnx(model, full)
            figures[size] = {
                "parameters": model.parameter_count(),
                "fp32": {"bytes": full.stat().st_size, **_cost(full, audio, state_size)},
            }
            if size != "large":  # which has 8-bit weights already
                quantize_weights(full, small)
                figures[size]["int8"] = {"bytes": small.stat().st_size, **_cost(small, audio, state_size)}
    return figures


def _cost(path: Path, audio: np.ndarray, state_size: int) -> dict[str, float]:
    import onnxruntime

    from model.model import CHUNK_SAMPLES

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    state = np.zeros((1, state_size), np.float32)
    chunks = [audio[None, start : start + CHUNK_SAMPLES] for start in range(0, len(audio), CHUNK_SAMPLES)]
    for chunk in chunks[:20]:
        session.run(None, {"audio": chunk, "state": state})
    wall, started = time.perf_counter(), time.process_time()
    for chunk in chunks:
        _, state = session.run(None, {"audio": chunk, "state": state})
    spent, elapsed = time.process_time() - started, time.perf_counter() - wall
    return {"share_of_core": round(spent / STREAM_S, 5), "ms_a_chunk": round(1000 * elapsed / len(chunks), 3)}
