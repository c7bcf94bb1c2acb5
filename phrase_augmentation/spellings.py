"""Made-up words: real spellings with letters exchanged, inserted or deleted, if they are readable.

Engines take text, not phones. Changing a phone therefore means changing letters and looking up the new phones.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from phrase_augmentation.distance import exchange_cost, is_vowel
from phrase_augmentation.normalize import base_language, scripts_of
from phrase_augmentation.phonemes import Phones, phonemes_of_words, stressed_vowel
from phrase_augmentation.vocabulary import vocabulary

# Scripts whose letters stand for sounds. In other scripts, exchanging a character gives an unrelated word, or none.
ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN"})
VOWEL_LETTERS = frozenset("aeiouyæœøıаеёиоуыэюяєіїαεηιουωаաեէըիոօუოიეა")
CONSONANT_CLUSTERS = {
    "en": ("sh", "ch", "th", "st", "tr", "pl", "br", "gr", "fl"),
    "de": ("sch", "ch", "st", "tr", "pf"),
}
COMMON_FRACTION = 0.003  # minimum fraction; letters with a smaller one are foreign to the language
OTHER_VOWEL = 0.4  # phone distance from which all speakers distinguish two vowels
SEEN_TRIGRAMS = 4  # number of vocabulary words that must contain a trigram to make it readable

# Digraphs first; a capital stands for a sound without a letter of its own.
_LETTERS_OF_ONE_SOUND = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        ("tch|ch", "C"), ("sch|sh", "S"), ("th", "T"), ("ph", "f"), ("ck|q|c(?![eiy])|k", "k"), ("c|z", "s"),
        ("x", "ks"),        ("dg|j|g(?=[eiy])", "J"), ("^kn", "n"), ("^wr", "r"), ("mb$", "m"), (r"(.)\1+", r"\1"),
    )
]  # fmt: skip


def is_vowel_letter(letter: str) -> bool:
    """Return whether a letter usually stands for a vowel (accents ignored)."""
    return unicodedata.normalize("NFD", letter)[0] in VOWEL_LETTERS


@lru_cache(maxsize=4)
def _letters_and_trigrams(language: str) -> tuple[tuple[str, ...], frozenset[str]]:
    letters: Counter[str] = Counter()
    trigrams: Counter[str] = Counter()
    for word in vocabulary(language).words:
        if "'" not in word:
            letters.update(word)
            trigrams.update({f"^{word}$"[start : start + 3] for start in range(len(word))})
    total = sum(letters.values())
    common = tuple(sorted(letter for letter, count in letters.items() if count >= COMMON_FRACTION * total))
    return common, frozenset(trigram for trigram, count in trigrams.items() if count >= SEEN_TRIGRAMS)


def readable(word: str, language: str) -> bool:
    """Return whether all trigrams of a word, including its ends, are common in the language."""
    _, trigrams = _letters_and_trigrams(base_language(language))
    marked = f"^{word}$"
    return all(marked[start : start + 3] in trigrams for start in range(len(marked) - 2))


def letter_skeleton(text: str) -> str:
    """Return the part of a spelling on which readers agree: consonants, merged if doubled or of the same sound.

    "compass", "kompas" and "compess" have the skeleton "kmps". Spaces, vowels, and h, w and y within words are removed.
    """
    result: list[str] = []
    for word in text.split():
        for pattern, sound in _LETTERS_OF_ONE_SOUND:
            word = pattern.sub(sound, word)
        letters = [letter for letter in word if not is_vowel_letter(letter)]
        if word[:1] in ("y", "w", "h"):
            letters[:0] = [word[0]] if word[0] == "y" else []
            letters[1:] = [letter for letter in letters[1:] if letter not in "hw"]
        else:
            letters = [letter for letter in letters if letter not in "hw"]
        result.extend(letters)
    return "".join(result)


def misspellings(word: str, language: str, target: str | None = None) -> list[str]:
    """Return readable words one edit away from ``word`` that are not read as ``target`` (default: ``word``).

    If the consonants are the same, the stressed vowel must differ: engines read weak vowel letters unpredictably, and
    "compess" may well sound like "compass". The caller checks for homophones.
    """
    language = base_language(language)
    if not scripts_of(language) & ALPHABETS:
        return []
    target = target or word
    letters, _ = _letters_and_trigrams(language)
    consonants = [letter for letter in letters if not is_vowel_letter(letter)]
    consonants += CONSONANT_CLUSTERS.get(language, ())
    vowels = [letter for letter in letters if is_vowel_letter(letter)]
    edits = dict.fromkeys(_edits(word, consonants, vowels, _stressed_group(word, language)))
    edited = [other for other in edits if other not in (word, target) and len(other) > 1 and readable(other, language)]
    skeleton = letter_skeleton(target)
    stressed = stressed_vowel(target, language)
    of_target, *phones = phonemes_of_words([target, *edited], language)
    return [
        other
        for other, sounds in zip(edited, phones)
        if letter_skeleton(other) != skeleton or _other_stressed_vowel(of_target, sounds, stressed)
    ]


def _other_stressed_vowel(target: Phones, other: Phones, stressed: int | None) -> bool:
    vowels = [phone for phone in target if is_vowel(phone)]
    others = [phone for phone in other if is_vowel(phone)]
    if stressed is None or len(vowels) != len(others) or stressed >= len(vowels):
        return False
    return exchange_cost(vowels[stressed], others[stressed]) >= OTHER_VOWEL


def _groups(word: str) -> list[str]:
    """Split a word into groups of vowel letters or doubled consonants: "compass" is c o m p a ss."""
    groups: list[str] = []
    for letter in word:
        last = groups[-1] if groups else ""
        both_vowels = bool(last) and is_vowel_letter(last[-1]) and is_vowel_letter(letter)
        if both_vowels or last == letter:
            groups[-1] += letter
        else:
            groups.append(letter)
    return groups


def _stressed_group(word: str, language: str) -> int | None:
    """Return the index of the letters of the stressed vowel; None if letters and phones differ in vowel count."""
    spelled = [index for index, group in enumerate(_groups(word)) if is_vowel_letter(group[0])]
    spoken = sum(is_vowel(phone) for phone in phonemes_of_words([word], language)[0])
    if language == "en" and len(spelled) == spoken + 1 and word.endswith("e") and len(spelled) > 1:
        spelled = spelled[:-1]  # the silent e
    stressed = stressed_vowel(word, language)
    if stressed is None or len(spelled) != spoken or stressed >= len(spelled):
        return None
    return spelled[stressed]


def _edits(word: str, consonants: list[str], vowels: list[str], stressed: int | None) -> Iterator[str]:
    groups = _groups(word)
    for index, group in enumerate(groups):
        before, after = "".join(groups[:index]), "".join(groups[index + 1 :])
        if not is_vowel_letter(group[0]):
            yield before + after
            for other in consonants:
                if other != group[0]:
                    yield before + other + after
        elif index == stressed:
            for other in vowels:
                yield before + other + after
    for index in range(len(groups) + 1):
        before, after = "".join(groups[:index]), "".join(groups[index:])
        for other in consonants:
            yield before + other + after
    if stressed is not None and len(groups) > 3:
        # Without the vowel and the consonant before it, which is one syllable less.
        yield "".join(groups[: max(0, stressed - 1)] + groups[stressed + 1 :])
