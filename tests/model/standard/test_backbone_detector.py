"""Detectors on a backbone: all forms agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model.phones import PHONE_OUTPUTS, phone_indices
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from tests.support.untrained_bundle import line

PHRASE = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


def noise() -> np.ndarray:
    """Nine seconds of noise whose level changes ten times a second."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(9 * 16_000)
    return (audio * np.repeat(np.random.default_rng(1).uniform(0, 2, 90), 1600)).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> BackboneDetector:
    model = BackboneDetector.of_phrase(shipped_backbone()[0], (PHRASE, PHRASE[:3]), 0.8)
    # The phrase's phones are made probable now and then: otherwise the keyword HMM stays at its floor.
    model.backbone.out.bias.data.view(-1, PHONE_OUTPUTS)[:, PHRASE] += 6.0
    return line(model, 2.0, 1.0).eval()


def test_all_export_forms_agree(
    detector: BackboneDetector, forms_agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # This backbone outputs phones for silence and for the graph's initial zero state; they must decay.
    monkeypatch.setattr("model.keyword_hmm.MATCH_LEAK", 0.05)
    audio = noise()
    forms_agree(detector, audio)
    assert detector.stream_scores(audio).std() > 1e-3, "constant scores would agree trivially"


def test_an_anti_keyword_ending_80_ms_before_the_phrase_counts() -> None:
    symbols = [0] * 60 + [s for phone in PHRASE for s in (phone, 0, 0, 0)] + [0] * 60
    sound = np.full((1, len(symbols), PHONE_OUTPUTS), 1e-3, np.float32)
    sound[0, np.arange(len(symbols)), symbols] = 1.0
    model = BackboneDetector.of_phrase(shipped_backbone()[0], (PHRASE,), 0.8)
    plain, beside = (made.matches(sound) for made in (model, model.with_anti_keywords((PHRASE[:-1],), -0.5)))
    heard = plain > -0.5
    assert heard.any() and (beside[heard] < plain[heard] - 1.0).all()
