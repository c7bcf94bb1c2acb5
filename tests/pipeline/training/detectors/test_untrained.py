"""The detector that a run begins with."""

from __future__ import annotations

from typing import Any

import pytest

from model.large.encoder_detector import EncoderDetector
from model.standard.backbone_detector import BackboneDetector
from model.standard.fused_detector import FusedDetector
from model.tiny_crnn import TinyCRNN
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors.untrained import untrained_detector


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"size": "standard"}, FusedDetector),
        ({"size": "standard", "effort": "trial"}, BackboneDetector),
        ({"size": "large"}, EncoderDetector),
        ({"size": "standard", "from_scratch": True}, TinyCRNN),
        ({"phrase": "hallo kompass", "language": "de"}, TinyCRNN),
    ],
)
def test_size_and_language_choose_the_initial_detector(changes: dict[str, Any], kind: type[Any]) -> None:
    config = RunConfig(**{"phrase": "hey compass", **changes})
    detector = untrained_detector(config, 1.6, None)
    assert type(detector) is kind
    assert detector.config.receptive_samples >= 1.6 * 16_000
    assert untrained_detector(config, 2.6, None).front_end_id == detector.front_end_id
