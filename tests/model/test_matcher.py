from __future__ import annotations

import pytest
import torch

from model.matcher import MATCH_FLOOR, MATCH_MEMORY, MATCH_POOL, Matcher
from model.phones import PHONE_OUTPUTS, phone_indices
from tests.support.untrained_bundle import line, matcher_model

PHRASE = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


def heard(*phones: int, blanks: int = 2) -> torch.Tensor:
    """What a sure trunk gives: each phone for one frame, blanks between."""
    symbols = [0] * blanks
    for phone in phones:
        symbols += [phone] + [0] * blanks
    outputs = torch.full((1, len(symbols), PHONE_OUTPUTS), 1e-3)
    outputs[0, torch.arange(len(symbols)), torch.tensor(symbols)] = 1.0
    return outputs


def best(matcher: Matcher, frames: torch.Tensor) -> float:
    scores, _ = matcher(frames, matcher.start(frames))
    return float(scores.detach().max())


def test_the_phrase_scores_near_nothing_lost_and_other_words_do_not() -> None:
    matcher = Matcher((PHRASE,))
    whole = best(matcher, heard(*PHRASE))
    assert -0.3 < whole <= 0.0, "only the leak is lost"
    assert best(matcher, heard(*PHRASE[:-1])) < whole - 1.0, "the last phone is missing"
    assert best(matcher, heard(*PHRASE[::-1])) < -1.5
    assert best(matcher, heard(*PHRASE[:2], 7, *PHRASE[3:])) < whole - 1.0, "one phone is another"


def test_any_pronunciation_will_do() -> None:
    other = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔ")))
    matcher = Matcher((PHRASE, other))
    assert best(matcher, heard(*PHRASE)) > -0.3
    assert best(matcher, heard(*other)) > -0.3
    assert best(matcher, heard(*PHRASE[:3], *other[3:])) > -0.3


def test_a_pause_within_the_phrase_costs() -> None:
    matcher = Matcher((PHRASE,))
    paused = torch.cat([heard(*PHRASE[:3]), heard(blanks=100), heard(*PHRASE[3:])], dim=1)
    assert best(matcher, paused) < best(matcher, heard(*PHRASE)) - 0.09


def test_repeated_phones_need_a_blank_between() -> None:
    phrase = tuple(phone_indices(("n", "n")))
    matcher = Matcher((phrase,))
    assert best(matcher, heard(*phrase)) > -0.2
    assert best(matcher, heard(phrase[0])) < -1.0, "one of them said once is not both"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_older_than_the_memory_changes_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matcher = Matcher((PHRASE,))
    noise = torch.softmax(4 * torch.randn(1, MATCH_MEMORY + 60, PHONE_OUTPUTS, generator=generator), dim=2).sqrt()
    scores, _ = matcher(noise, matcher.start(noise))
    _, warm = matcher(torch.cat([heard(*PHRASE), noise[:, :40], heard(*PHRASE[:3])], dim=1), matcher.start(noise))
    later, _ = matcher(noise, warm)
    assert torch.equal(scores[:, MATCH_MEMORY:], later[:, MATCH_MEMORY:])


def test_values_never_fall_below_the_floor() -> None:
    matcher = Matcher((PHRASE,))
    _, value = matcher(heard(9, 9, 9), matcher.start(heard(9)))
    assert float(value.min()) >= MATCH_FLOOR


def test_what_rescoring_adds_counts_where_frames_match_and_decoys_take_from_the_phrase_alone() -> None:
    model = matcher_model("computer")
    scores = torch.full((1, 1, MATCH_POOL), -3.0)
    scores[0, 0, 2] = -1.0
    assert float(model.combined([scores])) == pytest.approx(-1.0)
    gained = torch.zeros_like(scores)
    gained[0, 0, 4] = 3.0
    assert float(model.combined([scores], gained)) == pytest.approx(0.0)
    decoy = torch.full_like(scores, -0.75)
    assert float(model.combined([scores, decoy], gained)) == pytest.approx(-4.0 * 0.25)
    assert float(model.combined([scores, decoy - 1.0], gained)) == pytest.approx(0.0)


@pytest.mark.parametrize("size", ["micro", "large"])
def test_a_detector_is_centred_on_a_match_score(size: str) -> None:
    before = line(matcher_model("computer", size), 4.4, 6.9)
    after = before.centred(-1.75)
    matches = torch.linspace(-5, 4, 50).numpy()
    scores = after.score(matches)
    assert ((scores > 0.5) == (matches > -1.75)).all() and (scores[1:] >= scores[:-1]).all()
    assert float(after.match.weight) == type(after).slope, "whatever it was before"
    assert float(before.match.weight) == pytest.approx(4.4), "which is another detector"
