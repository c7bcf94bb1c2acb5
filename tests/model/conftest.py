"""Small random detectors and audio for the tests of model/, varied enough that differences show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.export import check_parity, quantize_weights
from model.features import SAMPLE_RATE, log_mel
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig
from tests.support.small_crnn import small_crnn
from tests.support.untrained_bundle import bundle_of


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: small models are slower on several, and results are then the same on every machine."""
    torch.set_num_threads(1)


def syllables(seconds: float, seed: int = 0) -> np.ndarray:
    """Return audio [samples] with the dynamics of speech: harmonics of a wandering pitch, syllable-like envelope."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    knots = max(4, int(seconds * 5) + 2)
    grid = np.linspace(0, knots - 1, samples)

    def wander(low: float, high: float) -> np.ndarray:
        return np.interp(grid, np.arange(knots), rng.uniform(low, high, knots))

    phase = 2 * np.pi * np.cumsum(wander(90.0, 250.0)) / SAMPLE_RATE
    tone = sum(wander(0.0, 1.0) * np.sin(k * phase) for k in (1, 2, 3, 5, 8, 13))
    noise = rng.standard_normal(samples, dtype=np.float32) * wander(0.0, 0.5)
    return np.asarray(0.08 * wander(0.0, 1.5) * (tone + noise), np.float32)


def lively_model(size: str = "small", window_s: float = 1.2, seed: int = 0) -> TinyCRNN:
    """Return a random detector whose scores vary with its input like a trained one's."""
    torch.manual_seed(seed)
    model = TinyCRNN(small_crnn(window_s) if size == "small" else TinyCRNNConfig.for_window(window_s))
    features = torch.from_numpy(log_mel(syllables(8.0, 99)))[None]
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what it has seen
    with torch.no_grad():
        model.train()
        for _ in range(2):
            model(features)
        model.eval()
        logits = model(features)
        last = model.head[-1]
        scale = 2.0 / logits.std()
        last.weight.mul_(scale)
        last.bias.copy_((last.bias - logits.mean()) * scale)
    return model


@dataclass(frozen=True)
class Exported:
    """A detector in all its forms."""

    model: TinyCRNN
    onnx: Path
    int8: Path
    state_size: int


def export(model: TinyCRNN, folder: Path) -> Exported:
    """Export all forms of a model to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx, int8 = folder / "model.onnx", folder / "model.int8.onnx"
    state_size = model.export(onnx)
    quantize_weights(onnx, int8)
    return Exported(model, onnx, int8, state_size)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A lively small detector in all its forms."""
    return export(lively_model(), tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def bundle(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That detector as a bundle's folder; must not be changed."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    thresholds = [{"fa_per_day": f, "threshold": t} for f, t in ((1.0, 0.9), (12.0, 0.6), (48.0, 0.4))]
    return bundle_of(folder, exported.model, "hey compass", 0.6, thresholds=thresholds, default_fa_per_day=12.0)


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy that bundle for a test that damages it; changes go into its manifest."""

    def copied(**changes: Any) -> Path:
        folder = shutil.copytree(bundle, tmp_path / "bundle")
        manifest = json.loads((folder / "manifest.json").read_text()) | changes
        del manifest["digest"]  # it is of the manifest before the changes
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return copied


@pytest.fixture
def forms_agree(tmp_path: Path) -> Callable[[Any, np.ndarray], None]:
    """Check that all forms of a detector on a backbone, and its checkpoint, give the same scores of some audio."""

    def check(detector: Any, audio: np.ndarray) -> None:
        made = export(detector, tmp_path)
        parity = check_parity(detector, made.onnx, made.int8, audio)
        assert max(parity.onnx, parity.streaming) < 1e-4 and parity.int8_agrees
        assert made.int8.stat().st_size < 900_000
        save_checkpoint(detector, str(tmp_path / "model.pt"))
        again, _ = load_checkpoint(str(tmp_path / "model.pt"))
        assert again.config == detector.config
        np.testing.assert_array_equal(again.stream_scores(audio), detector.stream_scores(audio))

    return check


@pytest.fixture(scope="session")
def speech() -> Callable[..., np.ndarray]:
    return syllables


@pytest.fixture(scope="session")
def make_model() -> Callable[..., TinyCRNN]:
    return lively_model


@pytest.fixture(scope="session")
def make_export() -> Callable[[TinyCRNN, Path], Exported]:
    return export
