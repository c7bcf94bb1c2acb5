"""Recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.events import silent_reporter
from model.large.encoder_detector import EncoderDetector
from model.standard.backbone_detector import BackboneDetector
from model.standard.fused_detector import FusedDetector
from model.tiny_crnn import TinyCRNN
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.negatives.negative_set import NegativeSet
from pipeline.training.negatives.negative_speech import NegativeSpeech
from pipeline.training.negatives.shipped import Negatives
from pipeline.training.recipes import recipe_of
from tests.support.small_crnn import small_crnn


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
    detector = recipe_of(config).untrained(1.6)
    assert type(detector) is kind
    assert detector.config.receptive_samples >= 1.6 * 16_000
    assert recipe_of(config).untrained(2.6).front_end_id == detector.front_end_id


def test_a_detector_trained_from_scratch_has_no_shipped_negatives(tmp_path: Path) -> None:
    nothing = recipe_of(RunConfig("hey compass", from_scratch=True)).negatives()
    assert not list(nothing.segments(TinyCRNN(small_crnn(1.2)), Keyphrase("hey compass"), tmp_path, silent_reporter()))
    assert nothing.about() == {}


def test_the_kind_of_detector_selects_the_negatives() -> None:
    def of(**changes: Any) -> Negatives:
        return recipe_of(RunConfig("hey compass", **changes)).negatives()

    assert of(effort="quick", size="large", seed=3) == NegativeSet(EFFORTS["quick"].negative_hours, 3)
    assert of(effort="quick") == NegativeSpeech(EFFORTS["quick"].speech_hours, learns=True)
    assert of(effort="trial") == NegativeSpeech(EFFORTS["trial"].speech_hours, learns=False)
    assert recipe_of(RunConfig("hey compass", effort="trial")).negatives(7.0) == NegativeSpeech(7.0, learns=False)
