"""TinyCRNN: the input of a logit, and the detector's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.features import CHUNK_FRAMES, CHUNK_SAMPLES, HOP, MELS, WINDOW, log_mel
from model.tiny_crnn import TinyCRNN
from tests.support.small_crnn import export_forms, lively_model

SIZES = [("standard", 1.6), ("small", 0.5), ("small", 3.0)]


@torch.no_grad()
def logits_of(model: TinyCRNN, audio: np.ndarray) -> Tensor:
    return model(torch.from_numpy(log_mel(audio))[None])[0]


@pytest.mark.parametrize(("size", "window_s"), SIZES)
def test_a_logit_depends_on_exactly_its_receptive_field(size: str, window_s: float) -> None:
    model = lively_model(size, window_s).double()
    need = model.config.receptive_frames
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(-5, 2, (1, need + 2 * CHUNK_FRAMES, MELS))).requires_grad_()
    logits = model(features)[0]
    assert logits.shape == (3,)
    for index, logit in enumerate(logits):
        (gradient,) = torch.autograd.grad(logit, features, retain_graph=True)
        frames = torch.nonzero(gradient[0].abs().sum(dim=1)).flatten().tolist()
        assert frames == list(range(index * CHUNK_FRAMES, index * CHUNK_FRAMES + need))


@pytest.mark.parametrize("samples_more", [0, 1, CHUNK_SAMPLES - 1, CHUNK_SAMPLES, 5 * CHUNK_SAMPLES])
def test_there_is_one_logit_every_80_ms(samples_more: int) -> None:
    model = lively_model()
    audio = np.zeros(model.config.receptive_samples + samples_more, np.float32)
    assert len(logits_of(model, audio)) == 1 + samples_more // CHUNK_SAMPLES
    assert model.config.receptive_samples == (model.config.receptive_frames - 1) * HOP + WINDOW


@pytest.mark.parametrize("window_s", [0.8, 3.0])
def test_the_standard_size_stays_within_its_limits(window_s: float, tmp_path: Path) -> None:
    standard = lively_model("standard", window_s)
    assert standard.parameter_count() <= 600_000
    assert export_forms(standard, tmp_path / "standard").int8.stat().st_size < 900_000
    assert abs(standard.config.window_frames * 0.04 - window_s) <= 0.02


def test_dropout_is_off_in_evaluation_and_gradients_reach_every_parameter() -> None:
    model = lively_model()
    features = torch.randn(4, model.config.receptive_frames, MELS)
    assert torch.equal(model(features), model(features))
    model.train()
    model(features).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
