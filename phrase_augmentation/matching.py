"""Checks whether a text contains a keyphrase as spoken. Every negative is checked.

The comparison is deliberately generous. It compares phones across word boundaries, in each accent of the language, and
treats sounds that fluent speech does not distinguish as equal. A negative that is rejected by mistake costs nothing,
whereas one that contains the phrase teaches the detector to miss it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from phrase_augmentation.distance import is_vowel, without_marks
from phrase_augmentation.normalize import base_language, normalize
from phrase_augmentation.phonemes import Phones, accents, phones_of_texts

# Phones that count as equal. The relation is not transitive: "ᵻ" equals ɪ and ə. No language here distinguishes ɹ from
# r, and all reduced vowels sound like a schwa in fast speech.
_ALIKE_EVERYWHERE: tuple[str, ...] = ("əɐ", "əʌ", "ɐʌ", "əɜ", "ᵻɪ", "ᵻə", "ᵻɨ", "ᵿʊ", "ᵿə", "ɹr", "lɫ", "ɑɒ")
_ALIKE_IN_ENGLISH = ("ɾt", "ɾd", "ʔt", "əɪ", "ɐɪ", "ᵻi")


# Unstressed forms of English function words: "compute or" sounds like "computer". British English drops the last r.
_WEAK_FORMS: dict[str, Phones] = {
    word: tuple(phones.split())
    for word, phones in {
        "a": "ə", "an": "ə n", "and": "ə n", "are": "ə ɹ", "as": "ə z", "at": "ə t", "can": "k ə n",
        "could": "k ə d", "er": "ə ɹ", "for": "f ə ɹ", "from": "f ɹ ə m", "had": "ə d", "has": "ə z",
        "have": "ə v", "he": "i", "her": "ə ɹ", "him": "ɪ m", "his": "ɪ z", "hour": "ɑ ɹ",
        "in": "ə n", "is": "z", "it": "ə t", "must": "m ə s", "not": "n ə t", "of": "ə v", "or": "ə ɹ",
        "our": "ɑ ɹ", "shall": "ʃ ə l", "should": "ʃ ə d", "some": "s ə m", "than": "ð ə n", "that": "ð ə t",
        "the": "ð ə", "them": "ə m", "there": "ð ə ɹ", "to": "t ə", "uh": "ə", "us": "ə s", "was": "w ə z",
        "were": "w ə ɹ", "will": "ə l", "would": "ə d", "you": "j ə", "your": "j ə ɹ",
    }.items()
}  # fmt: skip


def _alike(language: str) -> dict[str, str]:
    pairs = _ALIKE_EVERYWHERE + (_ALIKE_IN_ENGLISH if language == "en" else ())
    table: dict[str, str] = {}
    for pair in pairs:
        a, b = pair[0], pair[1]
        table[a] = table.get(a, a) + b
        table[b] = table.get(b, b) + a
    return table


_symbols: dict[str, str] = {}
_unused_symbols = itertools.count(0xE000)  # the private use area of Unicode


def _symbol(phone: str) -> str:
    """Map a phone to a private character, so that phone sequences can be searched as strings."""
    # A counter is thread-safe: with the size of the table, two threads could assign one character to two phones.
    return _symbols.get(phone) or _symbols.setdefault(phone, chr(next(_unused_symbols)))


def _folded(phones: Iterable[str], accent: str) -> list[str]:
    """Remove tones, diacritics and repetitions of phones: a boundary as in "bus stop" is not audible."""
    plain = [without_marks(phone) or phone for phone in phones]
    result: list[str] = []
    for index, phone in enumerate(plain):
        if accent == "en-us" and phone == "ɔ" and plain[index + 1 : index + 2] != ["ɹ"]:
            phone = "ɑ"  # many Americans pronounce "cot" and "caught" alike
        if result[-1:] != [phone]:
            result.append(phone)
    return result


def _chained(words: Iterable[Phones]) -> Phones:
    return tuple(phone for phones in words for phone in phones)


def _pattern_of(phone: str, alike: dict[str, str], last: bool) -> str:
    """Return a regular expression for the phones that count as this one.

    At the end of a phrase, "ə" does not count as "ɪ": the two merge only before a consonant ("rabbit", "abbot"), and
    "computing" does not contain the open end of "computer".
    """
    if phone not in alike:
        return _symbol(phone)  # also diphthongs and affricates, which are one phone of two characters
    others = alike[phone]
    if last and phone in "əɐ":
        others = others.replace("ɪ", "").replace("ᵻ", "")
    return "[" + "".join(map(_symbol, others)) + "]"


def _weak_form(word: str, accent: str) -> Phones | None:
    phones = _WEAK_FORMS.get(word)
    if phones and phones[-1] == "ɹ" and accent == "en-gb":
        return phones[:-1]
    return phones


def spoken_form(phones: Iterable[str], accent: str) -> str:
    """Convert phones to one private character each, without the distinctions that the comparison ignores."""
    return "".join(map(_symbol, _folded(phones, accent)))


class PhraseMatcher:
    """Finds one keyphrase in texts, by its phones."""

    def __init__(self, phrase: str, language: str = "en") -> None:
        """Compile the phrase's phones in each accent. Raises HarkError if espeak-ng does not have the language."""
        self.language = language
        self.words = normalize(phrase, language).split()
        self._letters = "".join(self.words)
        alike = _alike(base_language(language))
        self._patterns: dict[str, re.Pattern[str]] = {}
        for accent in accents(language):
            ways: set[str] = set()
            by_word = phones_of_texts(self.words, accent)
            for phones in (
                phones_of_texts([" ".join(self.words)], accent)[0],
                _chained(by_word),
                self._clipped(by_word),
            ):
                folded = _folded(phones, accent)
                last = len(folded) - 1
                ways.add("".join(_pattern_of(phone, alike, place == last) for place, phone in enumerate(folded)))
            ways.discard("")
            if ways:
                self._patterns[accent] = re.compile("|".join(sorted(ways)))

    def matches_of(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it contains the phrase as spoken; about 10,000 short texts per second."""
        normalized = [normalize(text, self.language) for text in texts]
        split = [text.split() for text in normalized]
        result = [self._spelled_in(words) for words in split]
        for accent, pattern in self._patterns.items():
            phones_of = phones_of_texts(normalized, accent)
            vocabulary = list(dict.fromkeys(word for words in split for word in words))
            of_word = dict(zip(vocabulary, phones_of_texts(vocabulary, accent)))
            for index, (in_context, words) in enumerate(zip(phones_of, split)):
                if not result[index]:
                    # Some words ("a", "the", "to") sound different in context, so they are also pronounced alone.
                    ways = {in_context, _chained([of_word[word] for word in words])}
                    if base_language(self.language) == "en":
                        ways.add(_chained([_weak_form(word, accent) or of_word[word] for word in words]))
                    result[index] = any(pattern.search(spoken_form(phones, accent)) for phones in ways)
        return result

    def _clipped(self, by_word: Sequence[Phones]) -> Phones:
        """Return the phrase as spoken quickly: English drops t and d before another consonant ("smar(t) mirror")."""
        if base_language(self.language) != "en":
            return _chained(by_word)
        clipped = [
            phones[:-1] if len(phones) > 2 and phones[-1] in ("t", "d") and after and not is_vowel(after[0]) else phones
            for phones, after in zip(by_word, [*by_word[1:], ()])
        ]
        return _chained(clipped)

    def matching_lines(self, lines: str, accent: str, whole: bool = False) -> list[int]:
        """Return the indices of the lines (each a :func:`spoken_form`) that contain the phrase; takes milliseconds.

        With ``whole``, return only those that contain nothing else.
        """
        pattern = self._patterns.get(accent)
        if pattern is None:
            return []
        if whole:
            pattern = re.compile(f"^(?:{pattern.pattern})$", re.MULTILINE)
        numbers: dict[int, None] = {}
        number = position = 0
        for match in pattern.finditer(lines):
            number += lines.count("\n", position, match.start())
            position = match.start()
            numbers[number] = None
        return list(numbers)

    def _spelled_in(self, words: Sequence[str]) -> bool:
        """Return whether consecutive whole words spell the phrase, with any word boundaries ("heycompass").

        This also covers phrases that espeak-ng reads differently in two contexts, or for which it has no phones.
        """
        if not self._letters:
            return False
        for first in range(len(words)):
            spelled = ""
            for word in words[first:]:
                spelled += word
                if not self._letters.startswith(spelled):
                    break
                if len(spelled) == len(self._letters):
                    return True
        return False


@lru_cache(maxsize=1024)
def phrase_matcher(phrase: str, language: str = "en") -> PhraseMatcher:
    """Return the phrase's :class:`PhraseMatcher`, cached."""
    return PhraseMatcher(phrase, language)


def phrase_sounds_in(phrase: str, text: str, language: str = "en") -> bool:
    """Return whether the text's phones contain the phrase's, ignoring word boundaries, stress, length and tones.

    Homophones count ("flower" contains "flour"), and so do longer words ("supercomputers" contains "computer"). For
    many texts use :meth:`PhraseMatcher.matches_of`.

    Raises:
        HarkError: espeak-ng is missing or does not have the language.
    """
    return phrase_matcher(phrase, language).matches_of([text])[0]
