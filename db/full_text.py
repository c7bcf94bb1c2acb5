"""SQLite's full-text search (FTS5) in memory, so that searches on servers split texts as SQLite would."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

TOKENIZER = "unicode61 remove_diacritics 0 tokenchars ''''"  # of clips: apostrophes are letters, accents count
MAX_WORD_LENGTH = 500  # characters; an entry of PostgreSQL's index has at most 2.7 kB, one of a tsvector 2 kB


@contextmanager
def indexed(texts: Iterable[str], tokenizer: str) -> Iterator[sqlite3.Connection]:
    """Yield a database with these texts, numbered from 0, in the FTS5 table ``indexed``, column ``text``."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f'CREATE VIRTUAL TABLE indexed USING fts5 (text, tokenize = "{tokenizer}")')
        memory.executemany("INSERT INTO indexed (rowid, text) VALUES (?, ?)", enumerate(texts))
        yield memory


def words_of(texts: Sequence[str], tokenizer: str) -> list[list[str]]:
    """Split each text into words, in order, in the form that is compared. Long words are truncated."""
    words: list[list[str]] = [[] for _ in texts]
    with indexed(texts, tokenizer) as memory:
        memory.execute("CREATE VIRTUAL TABLE word USING fts5vocab (indexed, instance)")
        for row, word in memory.execute("SELECT doc, term FROM word ORDER BY doc, offset"):
            words[row].append(word[:MAX_WORD_LENGTH])
    return words
