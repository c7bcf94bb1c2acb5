"""SQL conditions on clips, with their values: a query's, a user's search, a phrase's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from db.records import ClipQuery, LibrarySearch
from db.tables import plain

if TYPE_CHECKING:
    from db.choice import Database

# Scripts written without spaces (Thai to Myanmar, Khmer, kana, CJK): the full-text index takes a whole run as one word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
_ORIGINS = {
    "generated": "clip.source IS NULL AND clip.parent_id IS NULL",
    "imported": "clip.source IS NOT NULL AND NOT (clip.source >= 'recorded:' AND clip.source < 'recorded;')",
    "recorded": "clip.source >= 'recorded:' AND clip.source < 'recorded;'",
    "cut": "clip.parent_id IS NOT NULL",
}


def of_query(where: ClipQuery, database: Database) -> tuple[str, list[Any]]:
    parts: list[str] = ["TRUE"]
    values: list[Any] = []
    for condition, value in (
        ("language = ?", where.language),
        ("text_known = ?", None if where.text_known is None else int(where.text_known)),
        ("state = ?", where.state),
        ("(source IS NOT NULL) = ?", where.imported),
        (f"(parent_id IS NOT NULL AND {database.trimmed} IS NULL) = ?", where.slices),
        ("EXISTS (SELECT 1 FROM alignment WHERE clip_id = clip.id AND aligner = ?)", where.aligned_by),
    ):
        if value is not None:
            parts.append(condition)
            values.append(value)
    return " AND ".join(parts), values


def of_search(filters: LibrarySearch, database: Database) -> tuple[str, str, list[Any]]:
    """Return the tables to read, the SQL condition, and its values."""
    source = "clip"
    parts = ["TRUE"]
    values: list[Any] = []
    if filters.phrase.strip():
        if _UNSPACED.search(filters.phrase):
            condition, values = of_phrase(filters.phrase, database)
        else:
            # The full-text index returns rows in order, so only one page of many matches is read. CROSS JOIN
            # prevents SQLite from swapping the tables.
            source = "clip_fts CROSS JOIN clip"
            parts.append("clip.id = clip_fts.rowid")
            condition, values = database.phrase(plain(filters.phrase).strip())
        parts.append(condition)
    for column, value in (("engine", filters.engine), ("language", filters.language), ("state", filters.state)):
        if value:
            # Rows are read in order of id; another index would need sorting.
            parts.append(f"{database.unindexed}clip.{column} = ?")
            values.append(plain(value))
    if filters.voice.strip():
        parts.append(f"({database.contains('clip.voice')} OR {database.contains('clip.speaker')})")
        values += [plain(filters.voice.strip())] * 2
    if filters.origin in _ORIGINS:
        parts.append(_ORIGINS[filters.origin])
    return source, " AND ".join(parts), values


def of_phrase(phrase: str, database: Database) -> tuple[str, list[Any]]:
    """Return the SQL condition, and its values, for a phrase in a clip's text; "" for an empty phrase."""
    phrase = plain(phrase).strip()
    if not phrase:
        return "", []
    if _UNSPACED.search(phrase):
        return database.contains("text_normalized"), [phrase]
    condition, values = database.phrase(phrase)
    return f"id IN (SELECT rowid FROM clip_fts WHERE {condition})", values
