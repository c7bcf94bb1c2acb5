from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phrase_augmentation.matching import phrase_matcher, phrase_sounds_in
from phrase_augmentation.vocabulary import vocabulary


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("hey compass", "Hey. COMPASS!"),
        ("hey compass", "oh hay compasses"),
        ("hey compass", "heycompass"),
        ("computer", "supercomputers are fast"),
        ("computer", "compute a lot"),
        ("computer", "we compute or guess"),
        ("computer", "let it compute her way"),
        ("flower", "a bag of flour"),
        ("source", "tomato sauce"),  # in London
        ("latter", "the ladder fell"),  # in Boston
        ("cot", "he caught it"),
        ("ice cream", "I scream"),
        ("bus stop", "the bus top"),
        ("smart mirror", "a smar mirror"),
        ("forty two", "42"),
        ("你好", "你好吗"),
    ],
)
def test_texts_with_the_phrase_match(phrase: str, text: str) -> None:
    assert phrase_sounds_in(phrase, text, "zh" if ord(phrase[0]) > 0x4E00 else "en")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("hey compass", ""),
        ("hey compass", "hey campus"),
        ("hey compass", "they compass"),
        ("hey compass", "compass hey"),
        ("hey compass", "a compass"),
        ("computer", "the commuter train"),
        ("computer", "computing and computation"),
        ("alexa", "alexis"),
        ("smart mirror", "smart meter"),
        ("alexa", "alexander the great"),
        ("flower", "flow"),
    ],
)
def test_texts_without_the_phrase_do_not_match(phrase: str, text: str) -> None:
    assert not phrase_sounds_in(phrase, text)


WORDS = st.integers(0, 4000).map(lambda index: vocabulary().words[index])


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
def test_a_text_that_contains_the_phrase_always_matches(phrase: list[str], before: list[str], after: list[str]) -> None:
    assert phrase_sounds_in(" ".join(phrase), " ".join([*before, *phrase, *after]))
    assert phrase_sounds_in(" ".join(phrase), f"{' '.join(before)}. {', '.join(phrase).upper()}! {' '.join(after)}")


def test_matching_many_texts_equals_matching_each() -> None:
    texts = ["hey compass", "hey campus", "", "the hay compass", "👋"]
    assert phrase_matcher("hey compass").matches_of(texts) == [phrase_sounds_in("hey compass", text) for text in texts]
