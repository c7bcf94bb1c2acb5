"""Stored frames are scored the same in whatever blocks and batches (``model.detector``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model import tiny_crnn
from model.detector import in_batches, scores_of_many
from model.features import log_mel
from tests.support.untrained_bundle import keyword_hmm_model


def test_blocks_change_no_score(
    exported: Any, speech: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = log_mel(speech(12.0, 3))
    (whole,) = scores_of_many(exported.model, [frames])
    assert len(whole) == (len(frames) - exported.model.config.receptive_frames) // 8 + 1
    for block_scores in (1, 7, len(whole)):
        monkeypatch.setattr(tiny_crnn, "BLOCK_SCORES", block_scores)
        np.testing.assert_allclose(scores_of_many(exported.model, [frames])[0], whole, atol=1e-5)


def test_batches_change_no_score(exported: Any, speech: Callable[..., np.ndarray]) -> None:
    audio = speech(12.0, 3)
    backbone = keyword_hmm_model("computer")
    for model, frames in ((exported.model, log_mel(audio)), (backbone, backbone.hear(audio))):
        stored = model.config.stored
        need = stored.window
        pieces = [frames, frames[:need], frames[: need - 1], frames[8 : 8 + need], frames[:500], frames[:501]]
        alone = [scores_of_many(model, [piece])[0] for piece in pieces]
        assert [len(scores) for scores in alone] == [stored.scores(len(piece)) for piece in pieces]
        assert len(alone[2]) == 0 and len(alone[1]) == 1
        for scores, expected in zip(in_batches(model.scores, pieces, stored, 1500), alone, strict=True):
            np.testing.assert_allclose(scores, expected, atol=1e-5)
