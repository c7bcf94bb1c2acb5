from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phrase_augmentation.normalize import normalize


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("  Hey,  COMPASS! ", "en", "hey compass"),
        ("24/7", "en", "twenty four seven"),
        ("1,000 and 3.5", "en", "one thousand and three point five"),
        ("the 1st and 22nd", "en", "the first and twenty second"),
        ("007", "en", "zero zero seven"),
        ("don’t rock 'n' roll", "en", "don't rock n roll"),
        ("mother-in-law's", "en", "mother in law's"),
        ("3,5 und 1.000", "de", "drei komma fünf und eintausend"),
        ("Straße Ärger", "de", "straße ärger"),
        ("привет, Мир", "ru", "привет мир"),
        ("नमस्ते!", "hi", "नमस्ते"),
        ("ﬁne ｆｕｌｌ", "en", "fine full"),
        ("zero\u200bwidth", "en", "zerowidth"),
        ("👋🏽 hey 1️⃣", "en", "hey one"),
        ("7", "xx", "7"),
        ("12345678901234567890", "en", "one two three four five six seven eight nine zero " * 2),
    ],
)
def test_normalize(text: str, language: str, expected: str) -> None:
    assert normalize(text, language) == expected.strip()


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["en", "de", "fr", "ru", "tr", "ar", "ja", "xx"]))
def test_normalize_is_idempotent(text: str, language: str) -> None:
    once = normalize(text, language)
    assert normalize(once, language) == once
    assert once == " ".join(once.split())
    assert all(c.isalnum() or c in "' " or not c.isascii() for c in once)
