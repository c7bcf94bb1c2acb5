"""Forced alignment on emissions with known tokens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from model.asr.viterbi import fits, token_path
from model.phones import BLANK
from tests.support.emissions import emission


def test_tokens_are_aligned_with_their_frames() -> None:
    path = token_path(emission([0, 0, 1, 1, 0, 2, 3, 0, 3, 0]), [1, 2, 3, 3])
    assert path.first.tolist() == [2, 5, 6, 8]
    assert path.last.tolist() == [3, 5, 6, 8]
    assert path.shortfall(0, 9) == pytest.approx(0)


def test_a_wrong_token_costs_its_loss_of_probability() -> None:
    log_p = emission([0, 1, 0, 2, 0])
    path = token_path(log_p, [1, 4])
    assert path.first[0] == 1 and path.first[1] >= 2
    assert path.shortfall(int(path.first[1]), int(path.last[1])) == pytest.approx(np.log(0.9 / 0.02), rel=1e-3)


def test_surrounding_speech_is_not_aligned() -> None:
    log_p = emission([4, 5, 4, 5, 4, 0, 1, 0, 2, 0, 5, 4, 5, 4])
    path = token_path(log_p, [1, 2])
    assert (path.first.tolist(), path.last.tolist()) == ([6, 8], [6, 8])


def test_the_path_is_the_most_probable_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    log_p = np.log(rng.dirichlet(np.ones(4), 6)).astype(np.float32)
    tokens = [1, 1, 2]

    def collapsed(labels: tuple[int, ...]) -> list[int]:
        return [label for label, _ in itertools.groupby(labels) if label != BLANK]

    best = max(
        sum(log_p[t, label] for t, label in enumerate(labels))
        for labels in itertools.product(range(4), repeat=6)
        if collapsed(labels) == tokens
    )
    monkeypatch.setattr("model.asr.viterbi.FILLER_COST", np.inf)
    assert token_path(log_p, tokens).own[-1] == pytest.approx(best, rel=1e-5)


def test_a_free_end_aligns_as_many_tokens_as_were_spoken() -> None:
    path = token_path(emission([0, 1, 0, 2, 0]), [1, 2, 3, 4], free_end=True)
    assert path.first.tolist() == [1, 3, -1, -1]


def test_more_tokens_than_frames_are_rejected() -> None:
    assert fits([1, 2, 3], 3) and not fits([1, 1], 2) and fits([1, 1], 3)
    with pytest.raises(ValueError, match="do not fit"):
        token_path(emission([0, 1]), [1, 2, 3])
    with pytest.raises(ValueError):
        token_path(emission([0, 1]), [])
