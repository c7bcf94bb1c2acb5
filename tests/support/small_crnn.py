"""A TinyCRNN of 60 kB, for tests of detectors from scratch that do not need accuracy."""

from __future__ import annotations

from dataclasses import replace

from model.backbone import BackboneConfig
from model.tiny_crnn import TinyCRNNConfig


def small_crnn(window_s: float) -> TinyCRNNConfig:
    """Make its shape, for phrases that fit into ``window_s`` seconds."""
    backbone = BackboneConfig(stem_channels=(8, 8), channels=32)
    shape = TinyCRNNConfig.for_window(window_s)
    return replace(shape, backbone=backbone, recurrent_input=24, recurrent_size=24)
