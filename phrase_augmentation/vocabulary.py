"""The words of a language with their phones: the source of confusables, generated sentences and advice.

The words and their frequencies come from ``wordfreq``. The phones come from espeak-ng and are stored on disk, because
they take a second or two per language.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.data_folder import atomic_path, installation_folder
from phrase_augmentation.distance import PhoneMatrix
from phrase_augmentation.normalize import base_language, normalize, script_of, scripts_of
from phrase_augmentation.phonemes import Phones, accents, phones_of_texts, raw_phones, remember_raw_phones, version

WORDS = 25_000  # most frequent words; the rarest of these in English occurs about once in two million words
WORDFREQ_NAMES = {"cmn": "zh", "no": "nb", "hr": "sh", "sr": "sh", "bs": "sh", "hbs": "sh"}

# Words that Hark never synthesizes or lists, not even as confusables.
UNSPOKEN = re.compile(
    r"fuck|shit|cunt|slut|whore|nigg|fagg?ot|bitch|retard|porn|piss|asshole|dumbass|jackass"
    r"|\b(?:fags?|cums?|cumming|rap(?:e|ed|es|ing|ists?)|ass(?:es)?)\b"
)
# One-letter words of running text; other single letters in word lists are names of letters, list marks and so on.
SINGLE_LETTER_WORDS = {
    "en": "ai",
    "fr": "aày",
    "es": "aeouy",
    "it": "aeèoi",
    "pt": "aeéoàó",
    "ca": "aeio",
    "pl": "aiouwz",
    "cs": "aikosuvz",
    "sk": "aikosuvz",
    "sl": "aijkosvz",
    "sh": "aioskuz",
    "sv": "iåöå",
    "da": "iåø",
    "nb": "iå",
    "ro": "aeo",
    "hu": "aóőés",
}
# English words of two letters; others in word lists are abbreviations, which each engine reads differently.
ENGLISH_TWO_LETTERS = frozenset((
    "ah", "am", "an", "as", "at", "be", "by", "do", "eh", "go", "ha", "he", "hi", "ho", "if", "in", "is", "it", "la",
    "ma", "me", "my", "no", "of", "oh", "on", "or", "ow", "ox", "pa", "pi", "so", "to", "uh", "up", "us", "we", "ye",
    "yo",
))  # fmt: skip
ENGLISH_ABBREVIATIONS = frozenset((
    "blvd", "corp", "dept", "etc", "govt", "inc", "jan", "feb", "aug", "sept", "oct", "nov", "dec", "mon", "tue",
    "wed", "thu", "fri", "ave",
))  # fmt: skip
CJK_OR_KANA = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "THAI"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vocabulary:
    """The words of one language, most frequent first.

    Attributes:
        words: normalized words.
        frequency: fraction of each word in running text, float64 [words].
        phones: phones of each word in the first accent.
        matrix: the same phones, for distances to all words in one step.
    """

    words: tuple[str, ...]
    frequency: np.ndarray
    phones: tuple[Phones, ...]
    matrix: PhoneMatrix

    def nearest(self, query: Sequence[str], count: int, rarity_cost: float = 0.0) -> list[tuple[str, float]]:
        """Return the ``count`` words nearest to a phone sequence, with their phone distances, nearest first.

        Args:
            rarity_cost: added to the distance per power of ten by which a word is rarer than the most common one, so
                that common words come first among equally near ones.
        """
        if not self.words or count < 1:
            return []
        distances = self.matrix.distances(query)
        ranked = distances.astype(np.float64)
        if rarity_cost:
            ranked += rarity_cost * np.log10(self.frequency[0] / self.frequency)
        order = np.argsort(ranked, kind="stable")[:count]
        return [(self.words[index], float(distances[index])) for index in order]


def zipf(word: str, language: str = "en") -> float:
    """Return a word's frequency in running text: log10 of its occurrences per billion words; 0 if unknown.

    7 is "the", 6 "time", 5 "computer", 4 "mirror", 3 "thermostat", 2 "phoneme".
    """
    from wordfreq import zipf_frequency

    name = _wordfreq_name(language)
    # A longer text in these languages is not a single word, and wordfreq would need other packages to segment it.
    if name is None or (name in ("zh", "ja", "ko") and len(word) > 8):
        return 0.0
    try:
        return float(zipf_frequency(word, name))
    except (ModuleNotFoundError, LookupError):
        return _zipf_in_list(word, name)


def _zipf_in_list(word: str, name: str) -> float:
    """Return the Zipf frequency of a whole word, without wordfreq's segmentation."""
    from wordfreq import get_frequency_dict

    frequency = get_frequency_dict(name).get(word, 0.0)
    return max(0.0, math.log10(frequency) + 9.0) if frequency else 0.0


def has_words(language: str) -> bool:
    """Return whether the words of a language are known. Sentences and confusables need them."""
    return _wordfreq_name(language) is not None


@lru_cache(maxsize=1024)  # the page for choosing a language asks for more than a hundred
def _wordfreq_name(language: str) -> str | None:
    from wordfreq import available_languages

    base = base_language(language)
    name = WORDFREQ_NAMES.get(base, base)
    return name if name in available_languages("small") else None


@lru_cache(maxsize=8)
def vocabulary(language: str = "en", count: int = WORDS) -> Vocabulary:
    """Return a language's vocabulary, without words if wordfreq lacks the language. The first call takes a second.

    Raises:
        HarkError: espeak-ng is missing or does not have the language.
    """
    words, frequency = _word_list(base_language(language), count)
    for accent in accents(language):
        _phones_through_disk(words, accent)
    phones = phones_of_texts(words, accents(language)[0])
    spoken = [index for index, word_phones in enumerate(phones) if word_phones]
    sounds = tuple(phones[index] for index in spoken)
    return Vocabulary(
        tuple(words[index] for index in spoken), frequency[np.array(spoken, dtype=np.intp)], sounds, PhoneMatrix(sounds)
    )


@lru_cache(maxsize=8)
def _word_list(language: str, count: int) -> tuple[tuple[str, ...], np.ndarray]:
    from wordfreq import get_frequency_dict

    name = _wordfreq_name(language)
    if name is None:
        return (), np.zeros(0)
    singles = SINGLE_LETTER_WORDS.get(name, "")
    scripts = scripts_of(language)
    words: list[str] = []
    frequencies: list[float] = []
    for word, frequency in get_frequency_dict(name).items():  # most frequent first
        if len(words) == count:
            break
        letters = word.replace("'", "")
        if not letters.isalpha() and not any("\u0900" <= letter <= "\u0dff" for letter in letters):
            continue  # it has digits or signs; isalpha() would reject the vowel signs of Indian scripts, too
        if {script_of(letter) for letter in letters if letter.isalpha()} - scripts or normalize(word, language) != word:
            continue
        if len(letters) == 1 and letters not in singles and not scripts & CJK_OR_KANA:
            continue
        if language == "en" and not _usable_english(word):
            continue
        words.append(word)
        frequencies.append(frequency)
    return tuple(words), np.array(frequencies)


def _usable_english(word: str) -> bool:
    if len(word) == 2 and word not in ENGLISH_TWO_LETTERS:
        return False
    vowels = "[aeiouy]" if len(word) > 2 else "[aeiou]|by|my"
    return (
        word.isascii()
        and re.search(vowels, word) is not None
        and word not in ENGLISH_ABBREVIATIONS
        and UNSPOKEN.search(word) is None
    )


def _phones_through_disk(words: Sequence[str], accent: str) -> None:
    """Load the words' phones into memory, from an earlier process's file, or compute and store them."""
    if not words:
        return
    digest = hashlib.sha256(f"{version()}\n{accent}\n".encode() + "\n".join(words).encode()).hexdigest()
    path = installation_folder() / "cache" / f"phones-{accent}-{digest[:16]}.json"
    stored = _read_phones(path, len(words))
    if stored is not None:
        remember_raw_phones(accent, dict(zip(words, stored)))
        return
    raw = raw_phones(words, accent)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        # The cache only saves time. Writes that must succeed report a full disk or a read-only folder.
        _log.debug("the phones of %s were not cached: %s", accent, error)


def _read_phones(path: Path, count: int) -> list[str] | None:
    """Return the phone strings in a file, or None if it is missing or damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(stored, list) and len(stored) == count and all(isinstance(phones, str) for phones in stored)
    return stored if whole else None
