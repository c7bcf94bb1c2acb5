"""Large detectors that hear the yardstick's streams together give their own scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.heard_together import SharedEncoder
from model.encoder_trunk import encoder_path
from model.export import stream_scores
from model.model import ENCODER_HOP, TinyCRNN
from model.runtime.detector import smooth_scores
from tests.support.untrained_bundle import rescored_config, spoken

pytestmark = pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")


def detector(phrase: str, rescored: bool, bias: float = 1.0) -> TinyCRNN:
    config = rescored_config(phrase, above=-3.0)
    if not rescored:
        config = replace(config, spellings=())
    model = TinyCRNN(config).eval()
    with torch.no_grad():
        model.match.weight.fill_(1.0)
        model.match.bias.fill_(bias)
    return model


def test_together_as_alone_however_the_audio_comes() -> None:
    models = [detector("computer", True), detector("winter", False), detector("computer", True, bias=2.0)]
    audio = spoken("please ask the computer before the winter")
    audio = audio[: len(audio) // ENCODER_HOP * ENCODER_HOP]
    silence = np.zeros(ENCODER_HOP, np.float32)
    alone = [smooth_scores(stream_scores(model, audio), stream_scores(model, silence)[-1:]) for model in models]
    shared = SharedEncoder(models)
    for block_s in (0.11, 3.0, 60.0):
        shared.reset()
        size = round(16_000 * block_s)
        together = np.concatenate([shared.scores(audio[at : at + size]) for at in range(0, len(audio), size)])
        assert together.shape == (len(audio) // 1280, 3)
        np.testing.assert_allclose(together, np.transpose(alone), atol=1e-5)
        assert np.ptp(together[:, 0]) > 0.3


def test_a_phrase_of_several_seeds_is_followed_once() -> None:
    models = [detector("computer", True), detector("winter", False), detector("computer", True, bias=2.0)]
    models.append(detector("computer", False))
    assert SharedEncoder(models)._follows == [0, 1, 0, 3]
