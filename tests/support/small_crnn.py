"""A TinyCRNN of 60 kB, for tests of detectors from scratch that do not need accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model.export import quantize_weights
from model.features import log_mel
from model.tiny_crnn import BackboneConfig, TinyCRNN, TinyCRNNConfig
from tests.support.sounds import speech


def small_crnn(window_s: float) -> TinyCRNNConfig:
    """Make its shape, for phrases that fit into ``window_s`` seconds."""
    backbone = BackboneConfig(stem_channels=(8, 8), channels=32)
    shape = TinyCRNNConfig.for_window(window_s)
    return replace(shape, backbone=backbone, recurrent_input=24, recurrent_size=24)


def lively_model(size: str = "small", window_s: float = 1.2, seed: int = 0) -> TinyCRNN:
    """Return a random detector whose scores vary with its input like a trained one's."""
    torch.manual_seed(seed)
    model = TinyCRNN(small_crnn(window_s) if size == "small" else TinyCRNNConfig.for_window(window_s))
    features = torch.from_numpy(log_mel(speech(8.0, 99)))[None]
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
        assert isinstance(last, torch.nn.Linear)
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


def export_forms(model: TinyCRNN, folder: Path) -> Exported:
    """Export all forms of a model to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx, int8 = folder / "model.onnx", folder / "model.int8.onnx"
    state_size = model.export(onnx)
    quantize_weights(onnx, int8)
    return Exported(model, onnx, int8, state_size)
