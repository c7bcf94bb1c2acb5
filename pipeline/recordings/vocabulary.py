"""Words that a user corrected in transcripts, for recognizers to expect: ``<user data>/words.json``.

Names and rare words only: a recognizer that expects common ones hears them where they are not said.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.lock import held
from phrase_augmentation.normalize import base_language
from phrase_augmentation.vocabulary import zipf
from pipeline.recordings.transcription.whisper_text import UNSPACED

SCHEMA = 1  # of the file
FILE = "words.json"  # in a user's data folder
MOST = 50  # kept of a language; Whisper reads some two hundred tokens
LONGEST = 40  # letters
COMMON = 4.0  # zipf (log10 of a billionth) from which a word counts only where its capital letter makes it a name
_EDGES = re.compile(r"^\W+|(?:['’]s)?\W*$")
_SENTENCE_END = (".", "!", "?", "…", ":")
_NOUNS_CAPITALIZED = ("de",)  # where a capital letter makes no name

Row = tuple[str, str]  # a word as it is written, and its language


def corrected_words(before: str, after: str, language: str) -> list[str]:
    """The names and rare words that ``after`` has in place of others of ``before``, as they are written."""
    if base_language(language) in UNSPACED:
        return []
    old, new = before.split(), after.split()
    known = {_bare(word).casefold() for word in old}
    found: dict[str, None] = {}
    matcher = difflib.SequenceMatcher(
        None, [_bare(w).casefold() for w in old], [_bare(w).casefold() for w in new], False
    )
    for what, _, _, begin, end in matcher.get_opcodes():
        if what in ("replace", "insert"):
            for at in range(begin, end):
                word = _bare(new[at])
                begins = at == 0 or new[at - 1].endswith(_SENTENCE_END)
                if word.casefold() not in known and _is_telling(word, begins, language):
                    found[word] = None
    return list(found)


def _bare(word: str) -> str:
    return _EDGES.sub("", word)


def _is_telling(word: str, begins_sentence: bool, language: str) -> bool:
    """Whether a recognizer is helped by expecting the word."""
    if not 2 <= len(word) <= LONGEST or not any(letter.isalpha() for letter in word):
        return False
    if zipf(word.lower(), language) < COMMON:
        return True
    if word[1:] != word[1:].lower():  # "NASA", "iPhone"
        return True
    return word[0].isupper() and not begins_sentence and base_language(language) not in _NOUNS_CAPITALIZED


def learn(file: Path, words: Iterable[str], language: str) -> None:
    """Keep words of a language, the newest last; the oldest go where there are too many.

    Raises:
        HarkError: the file cannot be read or written.
    """
    language = base_language(language)
    with _to_change(file) as kept:
        for word in words:
            kept[:] = [row for row in kept if row != (word, language)]
            kept.append((word, language))
        of_language = [row for row in kept if row[1] == language]
        for row in of_language[:-MOST]:
            kept.remove(row)


def expected(file: Path, language: str | None) -> tuple[str, ...]:
    """The words of a language, the newest first; None: of all languages, :data:`MOST` of them."""
    wanted = base_language(language) if language else None
    return tuple(dict.fromkeys(word for word, own in reversed(_load(file)) if wanted in (None, own)))[:MOST]


def forget(file: Path, word: str) -> None:
    """Expect a word no longer; nothing where it is not there. The file goes with the last one."""
    with _to_change(file) as kept:
        kept[:] = [row for row in kept if row[0] != word]


@contextmanager
def _to_change(file: Path) -> Iterator[list[Row]]:
    """The rows, written back at the end of the block; of two processes (or threads) one waits for the other."""
    with storing("keeping the words of your corrections"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with held(file.with_suffix(".lock"), _being_changed):
            kept = _load(file)
            yield kept
            _save(file, kept)


def _being_changed(process: str) -> HarkError:
    return HarkError(
        "The words of your corrections are being changed.",
        f"Process {process} is at it, and does not end.",
        "Try again.",
    )


def _load(file: Path) -> list[Row]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        return [(str(row["word"]), str(row["language"])) for row in content["words"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkError(
            "The words of your corrections cannot be read.",
            f"{file.name}: {error}.",
            f"Restore {file} from a backup, or delete it.",
        ) from error


def _save(file: Path, kept: Sequence[Row]) -> None:
    """Raises OSError."""
    if not kept:
        file.unlink(missing_ok=True)
        return
    rows = [{"word": word, "language": language} for word, language in kept]
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA, "words": rows}, ensure_ascii=False), encoding="utf-8")
