"""Small random detectors and audio for the tests of model/, varied enough that differences show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.export import check_parity
from tests.support.small_crnn import Exported, export_forms, lively_model
from tests.support.untrained_bundle import bundle_of


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: small models are slower on several, and results are then the same on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A lively small detector in all its forms."""
    return export_forms(lively_model(), tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def bundle(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector above as a bundle's folder; must not be changed."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    thresholds = [{"fa_per_day": f, "threshold": t} for f, t in ((1.0, 0.9), (12.0, 0.6), (48.0, 0.4))]
    return bundle_of(folder, exported.model, "hey compass", 0.6, thresholds=thresholds, default_fa_per_day=12.0)


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy that bundle for a test that damages it; changes go into its manifest."""

    def copied(**changes: Any) -> Path:
        folder = shutil.copytree(bundle, tmp_path / "bundle")
        manifest = json.loads((folder / "manifest.json").read_text()) | changes
        del manifest["digest"]  # the digest of the unchanged manifest
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return copied


@pytest.fixture
def forms_agree(tmp_path: Path) -> Callable[[Any, np.ndarray], None]:
    """Check that all forms of a detector on a backbone, and its checkpoint, give the same scores of some audio."""

    def check(detector: Any, audio: np.ndarray) -> None:
        made = export_forms(detector, tmp_path)
        parity = check_parity(detector, made.onnx, made.int8, audio)
        assert max(parity.onnx, parity.streaming) < 1e-4 and parity.int8_agrees
        assert made.int8.stat().st_size < 900_000
        save_checkpoint(detector, str(tmp_path / "model.pt"))
        again, _ = load_checkpoint(str(tmp_path / "model.pt"))
        assert again.config == detector.config
        np.testing.assert_array_equal(again.stream_scores(audio), detector.stream_scores(audio))

    return check
