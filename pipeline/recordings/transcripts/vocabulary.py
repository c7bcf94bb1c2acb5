"""Words that a user corrected in transcripts, which recognizers then expect: ``<user data>/words.json``.

Only names and rare words are stored: a recognizer that expects common words inserts them where they were not spoken.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from core.user_file import UserFile
from core.worded import worded
from phrase_augmentation.normalize import base_language
from phrase_augmentation.vocabulary import zipf
from pipeline.recordings.transcripts.words import UNSPACED

FILE = "words.json"  # in a user's data folder
MAX_WORDS = 50  # words stored per language; Whisper reads about two hundred tokens
MAX_LENGTH = 40  # maximum characters of a word
MAX_MISRECOGNIZED_WORDS = 4  # words recognized in place of one
COMMON = 4.0  # Zipf frequency (log10 per billion words) from which a word counts only as a name, by its capital letter
_EDGES = re.compile(r"^\W+|(?:['’]s)?\W*$")
_SENTENCE_END = (".", "!", "?", "…", ":")
_NOUNS_CAPITALIZED = ("de",)  # languages in which a capital letter does not indicate a name

Row = dict[str, str]  # "word" in its spelling, and its "language"


_WORDS: UserFile[list[Row]] = UserFile(
    "words",
    worded("The file of words from your corrections"),
    worded("saving the words from your corrections"),
    lambda content: [{"word": str(row["word"]), "language": str(row["language"])} for row in content],
    list,
)


class Learned(NamedTuple):
    """The result of a correction: names and rare words (``words``, in their spelling), and a replacement.

    ``recognized`` became ``corrected``, and other passages may have the same error. Both are "" if there is no
    replacement.
    """

    words: tuple[str, ...] = ()
    recognized: str = ""
    corrected: str = ""


def learned(before: str, after: str, language: str) -> Learned:
    """Return the words that ``after`` has in place of words of ``before``."""
    if base_language(language) in UNSPACED:
        return Learned()
    old, new = before.split(), after.split()
    first, second = ([_bare(word).casefold() for word in words] for words in (old, new))
    differences = difflib.SequenceMatcher(None, first, second, False).get_opcodes()
    new_words: dict[str, None] = {}
    for what, _, _, begin, end in differences:
        if what in ("replace", "insert"):
            for at in range(begin, end):
                word = _bare(new[at])
                begins = at == 0 or new[at - 1].endswith(_SENTENCE_END)
                if word.casefold() not in first and _is_telling(word, begins, language):
                    new_words[word] = None
    for what, start, last, begin, end in differences:
        wrong, right = ([_bare(word) for word in words] for words in (old[start:last], new[begin:end]))
        if what == "replace" and set(right) <= set(new_words) and _may_be_elsewhere(wrong, right, language):
            return Learned(tuple(new_words), " ".join(wrong), " ".join(right))
    return Learned(tuple(new_words))


def _may_be_elsewhere(wrong: list[str], right: list[str], language: str) -> bool:
    """Return whether other passages may have the same error: ``wrong`` is rare, and not a part of ``right``."""
    if len(right) not in (1, len(wrong)) or len(wrong) > MAX_MISRECOGNIZED_WORDS or not all(wrong):
        return False
    is_rare = any(_is_telling(word.lower(), True, language) for word in wrong)
    return is_rare and not word_pattern(" ".join(wrong)).search(" ".join(right))  # "Kramp" in "Kramp-Karrenbauer"


def word_pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)


def replace_word(text: str, wrong: str, right: str) -> str:
    """Replace ``wrong`` with ``right``, with the text's capitalization unless only one of the two is capitalized."""

    def as_there(match: re.Match[str]) -> str:
        if wrong[0].isupper() != right[0].isupper():
            return right
        return (right[0].upper() if match[0][0].isupper() else right[0].lower()) + right[1:]

    return word_pattern(wrong).sub(as_there, text)


def _bare(word: str) -> str:
    return _EDGES.sub("", word)


def _is_telling(word: str, begins_sentence: bool, language: str) -> bool:
    """Return whether a recognizer benefits from expecting the word."""
    if not 2 <= len(word) <= MAX_LENGTH or not any(letter.isalpha() for letter in word):
        return False
    if zipf(word.lower(), language) < COMMON:
        return True
    if word[1:] != word[1:].lower():  # "NASA", "iPhone"
        return True
    return word[0].isupper() and not begins_sentence and base_language(language) not in _NOUNS_CAPITALIZED


def learn(file: Path, words: Iterable[str], language: str) -> None:
    """Store words of a language as the newest, dropping the oldest beyond :data:`MAX_WORDS`.

    Raises HarkError if the file cannot be read or written.
    """
    language = base_language(language)
    with _WORDS.to_change(file) as stored:
        for word in words:
            row = {"word": word, "language": language}
            if row in stored:
                stored.remove(row)
            stored.append(row)
        for row in [row for row in stored if row["language"] == language][:-MAX_WORDS]:
            stored.remove(row)


def expected(file: Path, language: str | None) -> tuple[str, ...]:
    """Return the words of a language (None for all), newest first, at most :data:`MAX_WORDS`."""
    wanted = base_language(language) if language else None
    rows = [row for row in reversed(_WORDS.load(file)) if wanted in (None, row["language"])]
    return tuple(dict.fromkeys(row["word"] for row in rows))[:MAX_WORDS]


def forget(file: Path, word: str) -> None:
    """Stop expecting a word, if it is stored. The file is deleted with the last one."""
    with _WORDS.to_change(file) as stored:
        stored[:] = [row for row in stored if row["word"] != word]
