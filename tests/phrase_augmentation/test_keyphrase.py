from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import HarkError
from phrase_augmentation.keyphrase import MAX_LETTERS, MAX_WORDS, Keyphrase
from phrase_augmentation.normalize import normalize


def test_valid_keyphrases_are_accepted() -> None:
    assert Keyphrase.of("Hey Compass!").text == "hey compass"
    assert Keyphrase.of("42").text == "forty two"
    assert Keyphrase.of("'; DROP TABLE clip; --").text == "drop table clip"
    assert Keyphrase.of("../../etc/passwd").text == "etc passwd"
    assert Keyphrase.of("こんにちは", "ja").text == "こんにちは"
    assert Keyphrase.of("你好", "zh").text == "你好"
    assert Keyphrase.of("a" * MAX_LETTERS)
    assert Keyphrase.of(" ".join(["la"] * MAX_WORDS))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        (" \t\n", "en"),
        ("x", "en"),
        ("a" * 300, "en"),
        ("a" * 1_000_000, "en"),
        (" ".join(["la"] * (MAX_WORDS + 1)), "en"),
        ("😀🚀", "en"),
        ("!?...", "en"),
        ("привет", "en"),
        ("pаypal", "en"),  # the second letter is Cyrillic
        ("hello", "ru"),
        ("東京", "ja"),
        ("\x00", "en"),
    ],
)
def test_invalid_keyphrases_are_rejected_with_advice(text: str, language: str) -> None:
    with pytest.raises(HarkError) as caught:
        Keyphrase.of(text, language)
    assert all(len(part) > 5 for part in caught.value.as_dict().values())
    assert len(str(caught.value)) < 400


def test_the_error_names_the_script() -> None:
    for text, name in (("你好", "Chinese"), ("pаypal", "Cyrillic"), ("안녕하세요", "Korean")):
        with pytest.raises(HarkError, match=f"is {name}; this language is written in Latin letters"):
            Keyphrase.of(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_a_phrase_or_a_hark_error(text: str) -> None:
    try:
        phrase = Keyphrase.of(text)
    except HarkError:
        return
    assert Keyphrase.of(phrase.text, phrase.language) == phrase


def test_a_keyphrase_has_its_pronunciations_in_each_accent() -> None:
    assert len(Keyphrase("water").pronunciations) == 2 and len(Keyphrase("hey").pronunciations) == 1
    assert Keyphrase("hey compass").words == ("hey", "compass")
    assert Keyphrase("hey compass") == Keyphrase.of("Hey, compass!")


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
def test_normalize_gives_the_expected_text(text: str, language: str, expected: str) -> None:
    assert normalize(text, language) == expected.strip()


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["en", "de", "fr", "ru", "tr", "ar", "ja", "xx"]))
def test_normalize_is_idempotent(text: str, language: str) -> None:
    once = normalize(text, language)
    assert normalize(once, language) == once
    assert once == " ".join(once.split())
    assert all(c.isalnum() or c in "' " or not c.isascii() for c in once)
