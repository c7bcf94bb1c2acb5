"""Detectors on a trunk: all forms agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.export import check_parity, quantize_weights
from model.features import log_mel
from model.phones import PHONE_OUTPUTS, phone_indices
from model.trunk import TrunkConfig
from model.trunk_detector import TrunkDetector, TrunkDetectorConfig
from tests.support.untrained_bundle import line

SMALL = TrunkConfig(stem_channels=(8, 8), channels=24, dilations=(1, 2), phones=PHONE_OUTPUTS)
PHRASE = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


def noise() -> np.ndarray:
    """Nine seconds of noise whose level changes ten times a second."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(9 * 16_000)
    return (audio * np.repeat(np.random.default_rng(1).uniform(0, 2, 90), 1600)).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> TrunkDetector:
    torch.manual_seed(1)
    model = TrunkDetector(TrunkDetectorConfig(pronunciations=(PHRASE, PHRASE[:3]), window_frames=40, trunk=SMALL))
    assert model.trunk.phones is not None
    features = torch.from_numpy(log_mel(noise()))[None]
    for _ in range(50):  # the norms learn the statistics of this sound, so that the trunk's outputs vary
        model.trunk.train()(features)
    # The phrase's phones are made probable now and then: otherwise the matcher stays at its floor.
    model.trunk.phones.weight.data.mul_(3.0)
    for phone in PHRASE:
        model.trunk.phones.bias.data[phone] += 4.0
    return line(model, 2.0, 1.0).eval()


def test_all_forms_agree(detector: TrunkDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This trunk hears phones in silence, and in the zeros that a graph's state begins with; they must be forgotten.
    monkeypatch.setattr("model.matcher.MATCH_LEAK", 0.05)
    audio = noise()
    detector.export(tmp_path / "a.onnx")
    quantize_weights(tmp_path / "a.onnx", tmp_path / "b.onnx")
    parity = check_parity(detector, tmp_path / "a.onnx", tmp_path / "b.onnx", audio)
    assert max(parity.onnx, parity.streaming) < 1e-4 and parity.int8_agrees
    assert detector.stream_scores(audio).std() > 1e-3, "the scores must vary for this to say anything"
