"""Distance between the sounds of two phone sequences: a weighted edit distance.

The weights are set by hand, following the articulatory features of the IPA chart. On this scale, a reduced vowel in
place of another costs 0.1, a voiced consonant in place of its voiceless counterpart 0.35, a neighbouring vowel 0.5, and
an omitted consonant 0.8.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# Height (0 close, 1 open), backness (0 front, 1 back) and rounding of the vowels, from the IPA chart.
_VOWELS: dict[str, tuple[float, float, float]] = {
    "i": (0.0, 0.0, 0), "y": (0.0, 0.0, 1), "ɨ": (0.0, 0.5, 0), "ʉ": (0.0, 0.5, 1), "ɯ": (0.0, 1.0, 0),
    "u": (0.0, 1.0, 1), "ɪ": (0.17, 0.15, 0), "ʏ": (0.17, 0.15, 1), "ʊ": (0.17, 0.85, 1), "ᵻ": (0.25, 0.4, 0),
    "ᵿ": (0.25, 0.6, 1), "e": (0.33, 0.0, 0), "ø": (0.33, 0.0, 1), "ɘ": (0.33, 0.5, 0), "ɵ": (0.33, 0.5, 1),
    "ɤ": (0.33, 1.0, 0), "o": (0.33, 1.0, 1), "ə": (0.5, 0.5, 0), "ɛ": (0.67, 0.0, 0), "œ": (0.67, 0.0, 1),
    "ɜ": (0.6, 0.5, 0), "ɞ": (0.67, 0.5, 1), "ʌ": (0.67, 0.7, 0), "ɔ": (0.67, 1.0, 1), "æ": (0.85, 0.1, 0),
    "ɐ": (0.8, 0.5, 0), "a": (1.0, 0.2, 0), "ɶ": (1.0, 0.0, 1), "ɑ": (1.0, 1.0, 0), "ɒ": (1.0, 1.0, 1),
}  # fmt: skip
VOWEL_LETTERS = frozenset(_VOWELS)

# Place (0 lips to 8.5 glottis), manner and voicing of the consonants.
_CONSONANTS: dict[str, tuple[float, str, bool]] = {
    "p": (0, "stop", False), "b": (0, "stop", True), "t": (2, "stop", False), "d": (2, "stop", True),
    "ʈ": (3, "stop", False), "ɖ": (3, "stop", True), "c": (4, "stop", False), "ɟ": (4, "stop", True),
    "k": (5.5, "stop", False), "ɡ": (5.5, "stop", True), "q": (6.5, "stop", False), "ɢ": (6.5, "stop", True),
    "ʔ": (8.5, "stop", False), "m": (0, "nasal", True), "ɱ": (0.5, "nasal", True), "n": (2, "nasal", True),
    "ɳ": (3, "nasal", True), "ɲ": (4, "nasal", True), "ŋ": (5.5, "nasal", True), "ɴ": (6.5, "nasal", True),
    "ɾ": (2, "tap", True), "ɽ": (3, "tap", True), "r": (2, "trill", True), "ʀ": (6.5, "trill", True),
    "ɸ": (0, "fricative", False), "β": (0, "fricative", True), "f": (0.5, "fricative", False),
    "v": (0.5, "fricative", True), "θ": (1.5, "fricative", False), "ð": (1.5, "fricative", True),
    "s": (2, "fricative", False), "z": (2, "fricative", True), "ʃ": (3, "fricative", False),
    "ʒ": (3, "fricative", True), "ʂ": (3, "fricative", False), "ʐ": (3, "fricative", True),
    "ɕ": (3.5, "fricative", False), "ʑ": (3.5, "fricative", True), "ç": (4, "fricative", False),
    "ʝ": (4, "fricative", True), "x": (5.5, "fricative", False), "ɣ": (5.5, "fricative", True),
    "χ": (6.5, "fricative", False), "ʁ": (6.5, "fricative", True), "ħ": (7.5, "fricative", False),
    "ʕ": (7.5, "fricative", True), "h": (8.5, "fricative", False), "ɦ": (8.5, "fricative", True),
    "ɬ": (2, "fricative", False), "ɮ": (2, "fricative", True), "ʋ": (0.5, "approximant", True),
    "ɹ": (2.5, "approximant", True), "ɻ": (3, "approximant", True), "j": (4, "approximant", True),
    "ɰ": (5.5, "approximant", True), "w": (4.5, "approximant", True), "ɥ": (4, "approximant", True),
    "l": (2, "lateral", True), "ɫ": (2.5, "lateral", True), "ɭ": (3, "lateral", True), "ʎ": (4, "lateral", True),
    "pf": (0.3, "affricate", False), "ts": (2, "affricate", False), "dz": (2, "affricate", True),
    "tʃ": (3, "affricate", False), "dʒ": (3, "affricate", True), "tʂ": (3, "affricate", False),
    "dʐ": (3, "affricate", True), "tɕ": (3.5, "affricate", False), "dʑ": (3.5, "affricate", True),
}  # fmt: skip
AFFRICATES = frozenset(phone for phone, (_, manner, _) in _CONSONANTS.items() if manner == "affricate")

_MANNERS: dict[frozenset[str], float] = {
    frozenset({"stop", "affricate"}): 0.3, frozenset({"affricate", "fricative"}): 0.3,
    frozenset({"stop", "fricative"}): 0.5, frozenset({"stop", "nasal"}): 0.5, frozenset({"stop", "tap"}): 0.2,
    frozenset({"tap", "trill"}): 0.1, frozenset({"tap", "approximant"}): 0.3, frozenset({"tap", "lateral"}): 0.3,
    frozenset({"trill", "approximant"}): 0.2, frozenset({"trill", "fricative"}): 0.3,
    frozenset({"approximant", "lateral"}): 0.3, frozenset({"approximant", "fricative"}): 0.5,
    frozenset({"nasal", "lateral"}): 0.5,
}  # fmt: skip
OTHER_MANNER = 0.7
VOICING = 0.25
REDUCED = frozenset("əɐʌᵻᵿɪɨ")  # vowels that are interchangeable in unstressed syllables of many languages
LEFT_OUT = {"h": 0.6, "ʔ": 0.4, "j": 0.6, "w": 0.6, "ɹ": 0.6, "ə": 0.6, "ᵻ": 0.6, "ɐ": 0.7}
CONSONANT_LEFT_OUT = 0.8
VOWEL_LEFT_OUT = 0.9
VOWEL_FOR_CONSONANT = 1.2


def is_vowel(phone: str) -> bool:
    return phone[:1] in VOWEL_LETTERS


@lru_cache(maxsize=4096)
def without_marks(phone: str) -> str:
    """Remove tone digits and diacritics ("ɑ" for "ɑ̃" and "ɑ2")."""
    return "".join(c for c in unicodedata.normalize("NFD", phone) if unicodedata.category(c)[:1] != "M" and c.islower())


@lru_cache(maxsize=1024)
def left_out_cost(phone: str) -> float:
    """Return the cost of a phone that only one of the sequences has."""
    plain = without_marks(phone)
    return LEFT_OUT.get(plain, VOWEL_LEFT_OUT if is_vowel(phone) else CONSONANT_LEFT_OUT)


@lru_cache(maxsize=65536)
def exchange_cost(a: str, b: str) -> float:
    """Return the cost of one phone in place of another: 0 for the same, symmetric, at most 1.2."""
    if a == b:
        return 0.0
    plain_a, plain_b = without_marks(a), without_marks(b)
    if plain_a == plain_b:
        return 0.2  # differs only in tone, nasality or palatalization
    if is_vowel(a) != is_vowel(b):
        return VOWEL_FOR_CONSONANT
    if is_vowel(a):
        if plain_a in REDUCED and plain_b in REDUCED:
            return 0.1 if not {plain_a, plain_b} & set("ɪɨ") else 0.3
        return min(0.9, 0.2 + 0.7 * _vowel_distance(plain_a, plain_b))
    consonant_a, consonant_b = _CONSONANTS.get(plain_a), _CONSONANTS.get(plain_b)
    if consonant_a is None or consonant_b is None:
        return 1.0
    (place_a, manner_a, voiced_a), (place_b, manner_b, voiced_b) = consonant_a, consonant_b
    cost = 0.1 + min(0.4, 0.15 * abs(place_a - place_b))
    cost += VOICING if voiced_a != voiced_b else 0.0
    cost += 0.0 if manner_a == manner_b else _MANNERS.get(frozenset({manner_a, manner_b}), OTHER_MANNER)
    return min(1.0, cost)


def _vowel_distance(a: str, b: str) -> float:
    """Return the mean distance of beginnings and ends on the vowel chart; a monophthong ends where it begins."""
    total = 0.0
    for position, weight in ((0, 0.6), (-1, 0.4)):
        height_a, back_a, round_a = _VOWELS.get(a[position], _VOWELS["ə"])
        height_b, back_b, round_b = _VOWELS.get(b[position], _VOWELS["ə"])
        squares = (height_a - height_b) ** 2 + (0.8 * (back_a - back_b)) ** 2 + (0.3 * (round_a - round_b)) ** 2
        total += weight * squares**0.5
    return total


def phone_distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Return the weighted edit distance (Levenshtein, with articulatory costs) of two phone sequences; symmetric.

    Phones are as :func:`phrase_augmentation.phonemes.phonemes` returns them.
    """
    row = [0.0]
    for phone in b:
        row.append(row[-1] + left_out_cost(phone))
    for phone in a:
        before = row
        row = [before[0] + left_out_cost(phone)]
        for column, other in enumerate(b):
            row.append(
                min(
                    before[column + 1] + left_out_cost(phone),
                    row[column] + left_out_cost(other),
                    before[column] + exchange_cost(phone, other),
                )
            )
    return row[-1]


class PhoneMatrix:
    """Many phone sequences, stored so that the distance of one sequence to all of them takes milliseconds."""

    def __init__(self, sequences: Sequence[Sequence[str]]) -> None:
        self._phones = sorted({phone for sequence in sequences for phone in sequence})
        ids = {phone: index for index, phone in enumerate(self._phones)}
        self.lengths = np.array([len(sequence) for sequence in sequences], dtype=np.intp)
        longest = int(self.lengths.max(initial=0))
        # [position, sequence]; positions after a sequence's end hold phone 0, whose costs are never read
        self._ids = np.zeros((longest, len(sequences)), dtype=np.intp)
        for column, sequence in enumerate(sequences):
            self._ids[: len(sequence), column] = [ids[phone] for phone in sequence]
        left_out = np.array([left_out_cost(phone) for phone in self._phones] or [0.0], dtype=np.float32)
        self._left_out = left_out[self._ids]
        self._all_left_out = np.zeros((longest + 1, len(sequences)), dtype=np.float32)  # the first row of the table
        np.cumsum(self._left_out, axis=0, out=self._all_left_out[1:])

    def distances(self, query: Sequence[str]) -> np.ndarray:
        """Return the :func:`phone_distance` of ``query`` to each sequence, float32 [sequences]."""
        longest, count = self._ids.shape
        table = self._all_left_out
        for phone in query:
            drop_cost = np.float32(left_out_cost(phone))
            costs = np.array([exchange_cost(phone, other) for other in self._phones] or [0.0], dtype=np.float32)
            exchanged = table[:-1] + costs[self._ids]
            dropped = table + drop_cost
            np.minimum(dropped[1:], exchanged, out=dropped[1:])
            for position in range(longest):
                np.minimum(
                    dropped[position + 1], dropped[position] + self._left_out[position], out=dropped[position + 1]
                )
            table = dropped
        result: np.ndarray = table[self.lengths, np.arange(count)]
        return result
