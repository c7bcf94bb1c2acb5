from __future__ import annotations

import pytest
import torch

from model.keyword_hmm import MATCH_FLOOR, MATCH_LEAK, MATCH_POOL, KeywordHMM
from model.phones import PHONE_OUTPUTS, phone_indices
from tests.support.untrained_bundle import keyword_hmm_model, line

PHRASE = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


def posteriors_of(*phones: int, blanks: int = 2) -> torch.Tensor:
    """Return a confident backbone's output: one frame for each phone, blanks between."""
    symbols = [0] * blanks
    for phone in phones:
        symbols += [phone] + [0] * blanks
    outputs = torch.full((1, len(symbols), PHONE_OUTPUTS), 1e-3)
    outputs[0, torch.arange(len(symbols)), torch.tensor(symbols)] = 1.0
    return outputs


def best(keyword_hmm: KeywordHMM, frames: torch.Tensor) -> float:
    scores, _ = keyword_hmm(frames, keyword_hmm.start(frames))
    return float(scores.detach().max())


def test_the_phrase_scores_near_zero_and_other_words_far_below() -> None:
    keyword_hmm = KeywordHMM((PHRASE,))
    whole = best(keyword_hmm, posteriors_of(*PHRASE))
    assert -0.3 < whole <= 0.0, "only the leak is lost"
    assert best(keyword_hmm, posteriors_of(*PHRASE[:-1])) < whole - 1.0, "without the last phone"
    assert best(keyword_hmm, posteriors_of(*PHRASE[::-1])) < -1.5
    assert best(keyword_hmm, posteriors_of(*PHRASE[:2], 7, *PHRASE[3:])) < whole - 1.0, "with one wrong phone"


def test_any_pronunciation_matches() -> None:
    other = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔ")))
    keyword_hmm = KeywordHMM((PHRASE, other))
    assert best(keyword_hmm, posteriors_of(*PHRASE)) > -0.3
    assert best(keyword_hmm, posteriors_of(*other)) > -0.3
    assert best(keyword_hmm, posteriors_of(*PHRASE[:3], *other[3:])) > -0.3


def test_a_pause_within_the_phrase_lowers_the_match() -> None:
    keyword_hmm = KeywordHMM((PHRASE,))
    paused = torch.cat([posteriors_of(*PHRASE[:3]), posteriors_of(blanks=100), posteriors_of(*PHRASE[3:])], dim=1)
    assert best(keyword_hmm, paused) < best(keyword_hmm, posteriors_of(*PHRASE)) - 0.09


def test_repeated_phones_need_a_blank_between_them() -> None:
    phrase = tuple(phone_indices(("n", "n")))
    keyword_hmm = KeywordHMM((phrase,))
    assert best(keyword_hmm, posteriors_of(*phrase)) > -0.2
    assert best(keyword_hmm, posteriors_of(phrase[0])) < -1.0, "one spoken phone does not match two"


@pytest.mark.parametrize("seed", range(5))
def test_audio_older_than_the_memory_has_no_effect(seed: int) -> None:
    generator, memory = torch.Generator().manual_seed(seed), round(-MATCH_FLOOR / MATCH_LEAK)  # frames
    keyword_hmm = KeywordHMM((PHRASE,))
    noise = torch.softmax(4 * torch.randn(1, memory + 60, PHONE_OUTPUTS, generator=generator), dim=2).sqrt()
    scores, _ = keyword_hmm(noise, keyword_hmm.start(noise))
    _, warm = keyword_hmm(
        torch.cat([posteriors_of(*PHRASE), noise[:, :40], posteriors_of(*PHRASE[:3])], dim=1), keyword_hmm.start(noise)
    )
    later, _ = keyword_hmm(noise, warm)
    assert torch.equal(scores[:, memory:], later[:, memory:])


def test_values_never_fall_below_the_floor() -> None:
    keyword_hmm = KeywordHMM((PHRASE,))
    _, value = keyword_hmm(posteriors_of(9, 9, 9), keyword_hmm.start(posteriors_of(9)))
    assert float(value.min()) >= MATCH_FLOOR


def test_rescoring_adds_to_matches_and_anti_keywords_subtract() -> None:
    model = keyword_hmm_model("computer")
    scores = torch.full((1, 1, MATCH_POOL), -3.0)
    scores[0, 0, 2] = -1.0
    assert float(model.combined([scores])) == pytest.approx(-1.0)
    gained = torch.zeros_like(scores)
    gained[0, 0, 4] = 3.0
    assert float(model.combined([scores], gained)) == pytest.approx(0.0)
    anti_keyword = torch.full_like(scores, -0.75)
    assert float(model.combined([scores, anti_keyword], gained)) == pytest.approx(-4.0 * 0.25)
    assert float(model.combined([scores, anti_keyword - 1.0], gained)) == pytest.approx(0.0)


@pytest.mark.parametrize("size", ["standard", "large"])
def test_a_detector_is_centered_on_a_match_score(size: str) -> None:
    before = line(keyword_hmm_model("computer", size), 4.4, 6.9)
    after = before.centred(-1.75)
    matches = torch.linspace(-5, 4, 50).numpy()
    scores = after.score(matches)
    assert ((scores > 0.5) == (matches > -1.75)).all() and (scores[1:] >= scores[:-1]).all()
    assert float(after.match.weight) == pytest.approx(type(after).slope), (
        "the slope does not depend on the previous one"
    )
    assert float(before.match.weight) == pytest.approx(4.4), "the original detector is unchanged"
