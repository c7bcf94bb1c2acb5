from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phrase_augmentation.distance import PhoneMatrix, exchange_cost, phone_distance

PHONES = ["k", "ʌ", "m", "p", "ə", "s", "eɪ", "h", "tʃ", "ɹ", "ɑ̃", "ɑu2", "rʲ", "?"]
sequences = st.lists(st.sampled_from(PHONES), max_size=8).map(tuple)


@settings(max_examples=300, deadline=None)
@given(sequences, sequences)
def test_distance_is_symmetric_and_zero_for_equal_sequences_only(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert phone_distance(a, b) == pytest.approx(phone_distance(b, a))
    assert (phone_distance(a, b) == 0.0) == (a == b)


@settings(max_examples=100, deadline=None)
@given(sequences, st.lists(sequences, min_size=1, max_size=6))
def test_matrix_equals_the_plain_distance(query: tuple[str, ...], others: list[tuple[str, ...]]) -> None:
    expected = [phone_distance(query, other) for other in others]
    np.testing.assert_allclose(PhoneMatrix(others).distances(query), expected, atol=1e-5)


def test_similar_phones_are_cheap() -> None:
    assert exchange_cost("ə", "ɐ") < exchange_cost("p", "b") < exchange_cost("ʌ", "æ") < exchange_cost("k", "ʌ")
    assert exchange_cost("s", "ʃ") < exchange_cost("s", "m")
    assert exchange_cost("i", "ɪ") < exchange_cost("i", "ɑ")
    assert 0 < exchange_cost("a2", "a4") < 0.3


def test_empty_matrix() -> None:
    assert PhoneMatrix([]).distances(("a",)).shape == (0,)
    assert PhoneMatrix([(), ("k",)]).distances(()).tolist() == pytest.approx([0.0, 0.8])
