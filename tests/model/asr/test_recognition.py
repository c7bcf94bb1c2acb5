"""Words from phone emissions."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from model.asr.recognition import UNLISTED, DecodingConfig, TrigramModel, WordDecoder, WordModel, word_model
from tests.support.emissions import emission as support_emission

A, B, C = 1, 2, 3
emission = partial(support_emission, outputs=5, sure=0.8)


def model(words: dict[str, float], transcripts: list[str] | None = None) -> WordModel:
    return word_model(words, transcripts or [])


@pytest.fixture
def decoder() -> WordDecoder:
    words = {"ab": 0.5, "abc": 0.25, "c": 0.25}
    return WordDecoder([("ab", [A, B]), ("abc", [A, B, C]), ("c", [C])], model(words))


def test_decoding_uses_words_of_the_vocabulary(decoder: WordDecoder) -> None:
    assert decoder.words(emission([0, A, A, 0, B, 0, 0])) == ["ab"]
    assert decoder.words(emission([0, A, B, 0, C, 0, C, 0], sure=0.97)) in (["ab", "c", "c"], ["abc", "c"])
    assert decoder.words(emission([0, 0, 0, 0])) == []


def test_a_misrecognized_phone_is_corrected(decoder: WordDecoder) -> None:
    assert decoder.words(emission([0, A, 0, 4, 0, C, 0])) in (["abc"], ["ab", "c"])


def test_word_frequency_decides_between_homophones() -> None:
    sounds = [("rare", [A, B]), ("common", [A, B])]
    heard = emission([0, A, B, 0])
    assert WordDecoder(sounds, model({"rare": 0.01, "common": 0.99})).words(heard) == ["common"]
    assert WordDecoder(sounds, model({"rare": 0.99, "common": 0.01})).words(heard) == ["rare"]


def test_bigrams_decide_between_homophones() -> None:
    sounds = [("see", [A]), ("sea", [A]), ("the", [B])]
    words = {"see": 0.4, "sea": 0.2, "the": 0.4}
    heard = emission([0, B, 0, A, 0])
    assert WordDecoder(sounds, model(words)).words(heard) == ["the", "see"]
    assert WordDecoder(sounds, model(words, ["the sea"] * 50)).words(heard) == ["the", "sea"]


def test_word_probabilities_sum_to_one() -> None:
    found = word_model({"a": 0.6, "b": 0.4}, ["a b", "a b", "b b"])
    assert sum(math.exp(found.after(("a",), word)) for word in ("a", "b")) == pytest.approx(1, abs=1e-6)
    assert sum(math.exp(found.unigram[word]) for word in ("a", "b")) == pytest.approx(1, abs=1e-6)
    assert found.after(("a",), "b") > found.after(("a",), "a")


def test_a_wider_beam_finds_nothing_less_probable(decoder: WordDecoder) -> None:
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.ones(5), 60)).astype(np.float32)
    assert decoder.words(log_p, DecodingConfig(beam=1000, beam_nats=1000)) == decoder.words(log_p)


def test_english_trigrams_rank_likely_words_first() -> None:
    pytest.importorskip("pocketsphinx", reason="brings the word trigrams")
    trigrams = TrigramModel(word_model({"york": 0.5, "flibber": 0.5}, []))
    assert trigrams.after(("new",), "york") > trigrams.after(("new",), "you") > trigrams.after((), "flibber") - 20
    assert trigrams.after(("new", "york"), "city") > trigrams.after(("the", "old"), "city") > trigrams.alone("city")
    assert trigrams.alone("flibber") == pytest.approx(math.log(0.5) + UNLISTED), "a word without trigrams"
    assert -12 < trigrams.alone("the") < -1
