"""Conversion of a text to the phones that splice selects by, with words, stress and pauses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from audio_generation.splice_side.selection import Wanted
from audio_generation.splice_side.units import PAUSE, Word
from db.records import AlignedUnit
from phrase_augmentation.distance import is_vowel
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import phonemes_of_words, stressed_vowel

SILENT_PHONES = frozenset("ʔ")  # aligners do not output these
_PAUSES = re.compile(r"[,.;:?!…–—\n]+(?=\s)")  # punctuation within a text, but not in numbers


def wanted_phones(text: str, language: str) -> list[Wanted]:
    """Return the phones of a text, word by word, with pauses at both ends and at punctuation.

    The result is empty if nothing in the text can be spoken. Words are pronounced in isolation, as by the aligner of
    the recordings' phones.
    """
    result: list[Wanted] = []
    for stretch in _PAUSES.split(text):
        words = normalize(stretch, language).split()
        spoken = _phones(tuple(words), language)
        if not any(spoken):
            continue
        result.append(Wanted(PAUSE))
        for word, phones in zip(words, spoken):
            stressed = _stress(word, language)
            vowels = 0
            for place, phone in enumerate(phones):
                vowel = is_vowel(phone)
                result.append(Wanted(phone, word, place + 1 == len(phones), vowel and vowels == stressed))
                vowels += vowel
    return [*result, Wanted(PAUSE)] if result else []


def with_stress(words: Sequence[AlignedUnit], language: str) -> tuple[Word, ...]:
    """Add the vowel with the main stress to the words of a recording."""
    phonemes_of_words([word.label for word in words], language)  # together, which is many times faster
    return tuple(Word(word.label, word.start_s, word.end_s, _stress(word.label, language)) for word in words)


@lru_cache(maxsize=50_000)
def _stress(word: str, language: str) -> int | None:
    return stressed_vowel(word, language)


@lru_cache(maxsize=4096)
def _phones(words: tuple[str, ...], language: str) -> list[tuple[str, ...]]:
    return [
        tuple(phone for phone in phones if phone not in SILENT_PHONES) for phones in phonemes_of_words(words, language)
    ]
