"""The command line in a process of its own, and a small bundle to try it on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line_samples import REPOSITORY, Run, write_bundle


@pytest.fixture
def hark(tmp_path: Path) -> Run:
    """Runs ``python main.py ARGUMENTS`` in an empty folder with an empty data folder; stdin is no terminal."""

    def run(*arguments: str, data: Path | None = None, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HARK_DATA": str(data or tmp_path / "data")}
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "main.py"), *arguments],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    return run


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Callable[..., int]:
    """The command line inside the test's own process, with the test's own data folder, for stubs and for speed."""
    from command_line import application

    return lambda *arguments: application.main(arguments)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an untrained model: it hears nothing in particular, but all of it is real."""
    import torch

    from model.export import quantize_weights
    from model.features import CHUNK_SAMPLES
    from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
    from model.runtime.detector import SCHEMA, SMOOTHING_FRAMES
    from model.tiny_crnn import TinyCRNN
    from tests.support.small_crnn import small_crnn

    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    model = TinyCRNN(small_crnn(0.6)).eval()
    state_size = model.export(folder / "model.onnx")
    quantize_weights(folder / "model.onnx", folder / "model.int8.onnx")
    contents = {name: (folder / name).read_bytes() for name in ("model.onnx", "model.int8.onnx")}
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "phrase": "hey compass",
        "language": "en",
        "sample_rate": 16_000,
        "chunk_samples": CHUNK_SAMPLES,
        "score_period_s": SCORE_PERIOD_S,
        "smoothing_frames": SMOOTHING_FRAMES,
        "refractory_s": REFRACTORY_S,
        "receptive_samples": model.config.receptive_samples,
        "state_size": state_size,
        "thresholds": [
            {"fa_per_day": 1.0, "threshold": 0.999, "extrapolated": False},
            {"fa_per_day": 100.0, "threshold": 0.001, "extrapolated": False},
        ],
        "default_fa_per_day": 1.0,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    return write_bundle(folder / "hey-compass.zip", manifest, contents)
