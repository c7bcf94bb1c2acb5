"""Full-text search in transcripts.

On SQLite, FTS5 searches. On database servers, a column of each passage holds its words as FTS5's tokenizer splits them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from db.full_text import indexed, words_of
from pipeline.recordings.transcripts.transcript import Transcript
from webui.accounts.models import User
from webui.recordings.models import Passage, Recording

MAX_WORDS = 32  # words per query
MAX_QUERY_LENGTH = 400  # maximum characters of a query
BEGIN, END = "\x02", "\x03"  # mark matches; texts do not contain them
PASSAGES = 2000  # passages per batch
TOKENIZER = "unicode61 remove_diacritics 2"  # as in the migration 0002_search
_PHRASE = re.compile(r'"([^"]*)"|(\w+)')


@dataclass(frozen=True)
class Hit:
    """A segment with matches; ``marked`` is its text as HTML with the matches in <mark>."""

    recording_id: UUID
    recording: str  # name of the recording
    number: int
    start_s: float
    end_s: float
    speaker: str
    text: str
    marked: SafeString


def index(recording: Recording, transcript: Transcript) -> None:
    """Index all segments of a transcript, replacing earlier ones."""
    Passage.objects.filter(recording=recording).delete()
    Passage.objects.bulk_create(
        Passage(
            recording=recording, number=number, start_s=segment.start_s, end_s=segment.end_s,
            speaker=transcript.speaker_name(segment.speaker)[:100], text=plain(segment.text),
        )
        for number, segment in enumerate(transcript.segments)
    )  # fmt: skip
    _set_words(Passage.objects.filter(recording=recording))


def index_all() -> None:
    """Index the passages that have no index yet, on database servers."""
    while passages := list(Passage.objects.extra(where=["audio_passage.words IS NULL"])[:PASSAGES]):
        _set_words(passages)


def _set_words(passages: QuerySet[Passage] | list[Passage]) -> None:
    if connection.vendor != "sqlite":
        words = words_of([passage.text for passage in passages], TOKENIZER)
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE audio_passage SET words = %s WHERE id = %s",
                [(" ".join(["", *of_text, ""]), passage.pk) for passage, of_text in zip(passages, words)],
            )


def plain(text: str) -> str:
    """Remove control characters, because they mark the matches."""
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cc" or letter in "\t\n")


def terms(query: str) -> list[str]:
    """Return the words of a query, and phrases in quotation marks; ignore everything else."""
    word_groups = []
    for phrase, word in _PHRASE.findall(query[:MAX_QUERY_LENGTH]):
        words = " ".join(re.findall(r"\w+", phrase)) if phrase else word
        if words:
            word_groups.append(words)
    return word_groups[:MAX_WORDS]


def find(user: User, wanted: Iterable[str], *, recording: Recording | None, limit: int, every: bool) -> list[Hit]:
    """Return visible segments with all (``every``) or any of these words and phrases, best first."""
    wanted = list(wanted)
    if not wanted:
        return []
    expression = (" AND " if every else " OR ").join(f'"{term}"' for term in wanted)
    if every:
        expression += " *"  # the last word may be incomplete
    if connection.vendor != "sqlite":
        return _find_on_server(user, wanted, expression, recording, limit, every)
    condition, values = ("AND p.recording_id = %s", [recording.pk.hex]) if recording is not None else ("", [])
    try:
        seen, of_user = Recording.objects.visible_to(user).order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:  # no recording is visible
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.recording_id, r.name, p.number, p.start_s, p.end_s, p.speaker, p.text,"
            " highlight(audio_passage_words, 0, %s, %s)"
            " FROM audio_passage_words JOIN audio_passage p ON p.id = audio_passage_words.rowid"
            " JOIN audio_recording r ON r.id = p.recording_id"
            f" WHERE audio_passage_words MATCH %s AND p.recording_id IN ({seen}) {condition}"
            " ORDER BY bm25(audio_passage_words), p.id LIMIT %s",
            [BEGIN, END, expression, *of_user, *values, limit],
        )
        return [
            Hit(UUID(pk), name, number, start_s, end_s, speaker, text, mark_safe(_as_html(marked)))
            for pk, name, number, start_s, end_s, speaker, text, marked in cursor.fetchall()
        ]


def _find_on_server(
    user: User, wanted: list[str], expression: str, recording: Recording | None, limit: int, every: bool
) -> list[Hit]:
    phrases = [phrase for phrase in words_of(wanted, TOKENIZER) if phrase]
    if not phrases:
        return []
    passages = Passage.objects.visible_to(user).select_related("recording")
    if recording is not None:
        passages = passages.filter(recording=recording)
    best = passages.extra(order_by=["rank", "id"], **_sought(phrases, every))[:limit]
    with indexed([passage.text for passage in best], TOKENIZER) as memory:
        query = "SELECT rowid, highlight(indexed, 0, ?, ?) FROM indexed WHERE indexed MATCH ?"
        marked = dict(memory.execute(query, (BEGIN, END, expression)))
    return [
        Hit(
            passage.recording_id, passage.recording.name, passage.number, passage.start_s, passage.end_s,
            passage.speaker, passage.text, mark_safe(_as_html(marked[row])),
        )
        for row, passage in enumerate(best) if row in marked  # POSITION ignores more differences than FTS5
    ]  # fmt: skip


def _sought(phrases: list[list[str]], every: bool) -> dict[str, Any]:
    """Return the condition, and the rank: the fraction of the text that does not match.

    MariaDB and MySQL scan all visible passages, because InnoDB's index omits short words.
    """
    sought = [f" {' '.join(phrase)} " for phrase in phrases]
    if every:
        sought[-1] = sought[-1].rstrip()  # the last word may be incomplete
    conditions = (" AND " if every else " OR ").join(["POSITION(%s IN audio_passage.words) > 0"] * len(sought))
    where, values = [conditions], sought
    if connection.vendor == "postgresql":
        alternatives = (" & " if every else " | ").join(f"({' & '.join(phrase)})" for phrase in phrases)
        where.append("audio_passage.words::tsvector @@ %s::tsquery")  # uses the index
        values = [*sought, f"{alternatives[:-1]}:*)" if every else alternatives]
    left = "REPLACE(" * len(sought) + "audio_passage.words" + ", %s, '')" * len(sought)
    return {
        "where": where, "params": values,
        "select": {"rank": f"1.0 * CHAR_LENGTH({left}) / CHAR_LENGTH(audio_passage.words)"}, "select_params": sought,
    }  # fmt: skip


def _as_html(text: str) -> str:
    return escape(text).replace(BEGIN, "<mark>").replace(END, "</mark>")
