"""The loss that wants any phrase heard where it is said, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch

from model.asr.keyphrase_loss import MARGIN, PHRASE_PHONES, draw_phrases, holds, keyphrase_loss

SAID = [[1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1], [2, 4, 6, 1, 3, 5, 7]]


def heard(rows: list[list[int]], sure: float) -> torch.Tensor:
    """Log-probabilities of items that are read as these phones, one a frame with blanks between."""
    logits = torch.zeros(len(rows), 2 * len(rows[0]) + 1, 10)
    for row, phones in zip(logits, rows):
        row[:, 0] = sure / 2
        for place, phone in enumerate(phones):
            row[2 * place + 1, phone] = sure
    return logits.log_softmax(-1).detach()


def lengths(log_p: torch.Tensor) -> torch.Tensor:
    return torch.full((len(log_p),), log_p.shape[1])


def test_phrases_are_stretches_of_what_is_said() -> None:
    phrases = draw_phrases([*SAID, [1, 2]], np.random.default_rng(0))
    assert len(phrases) == 3, "two phones are no phrase"
    for phrase, said in zip(phrases, SAID):
        assert holds(said, phrase) and PHRASE_PHONES[0] <= len(phrase) <= PHRASE_PHONES[1]
    assert draw_phrases([SAID[0], SAID[0]], np.random.default_rng(0)), "said twice, drawn once or as two stretches"


def test_reading_right_costs_little_and_reading_wrong_much() -> None:
    phrases = [tuple(said[:5]) for said in SAID]
    right = heard(SAID, 8.0)
    wrong = heard([SAID[1], SAID[2], SAID[0]], 8.0)
    unsure = heard(SAID, 0.5)
    good, middle, bad = (float(keyphrase_loss(x, lengths(x), SAID, phrases).detach()) for x in (right, unsure, wrong))
    assert good < 0.05 and good < middle < bad and bad > MARGIN


def test_it_teaches_to_read() -> None:
    logits = torch.zeros(3, 15, 10, requires_grad=True)
    phrases = [tuple(said[1:6]) for said in SAID]
    optimizer = torch.optim.Adam([logits], 0.1)
    first = 0.0
    for _ in range(60):
        log_p = logits.log_softmax(-1)
        loss = keyphrase_loss(log_p, lengths(log_p), SAID, phrases)
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2 * first


def test_a_phrase_that_is_said_twice_is_no_negative() -> None:
    said = [SAID[0], [9, *SAID[0][:6]], SAID[2]]
    log_p = heard(said, 8.0)
    assert float(keyphrase_loss(log_p, lengths(log_p), said, [tuple(SAID[0][:5])]).detach()) < 0.05


def test_what_comes_after_the_end_of_an_item_does_not_count() -> None:
    log_p = heard([SAID[0], SAID[0], SAID[2]], 8.0)
    said = [SAID[0], SAID[1], SAID[2]]
    short = torch.tensor([15, 3, 15])
    phrase = [tuple(SAID[0][:5])]
    cut, whole = (float(keyphrase_loss(log_p, ends, said, phrase).detach()) for ends in (short, lengths(log_p)))
    assert cut < 0.05 < whole
