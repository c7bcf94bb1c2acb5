"""Full-text search in transcripts: SQLite's FTS5, PostgreSQL's tsvector, on MariaDB and MySQL ``instr``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from pipeline.recordings.transcript import Transcript
from webui.accounts.models import User
from webui.audio.models import Passage, Recording

MOST_WORDS = 32  # of a query
LONGEST_QUERY = 400  # letters
BEGIN, END = "\x02", "\x03"  # around matches; no text contains them
PASSAGES = 2000  # at a time
LONGEST_WORD = 200  # letters; longer words are truncated
_WORD = re.compile(r"[^\W_]+")
_PHRASE = re.compile(r'"([^"]*)"|(\w+)')


@dataclass(frozen=True)
class Hit:
    """A segment with matches; ``marked`` is its text as HTML with the matches in <mark>."""

    recording_id: UUID
    recording: str  # its name
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
    """Index the passages in the table that are not indexed yet (servers)."""
    while passages := list(Passage.objects.extra(where=["audio_passage.words IS NULL"])[:PASSAGES]):
        _set_words(passages)


def _set_words(passages: Iterable[Passage]) -> None:
    if connection.vendor != "sqlite":
        value, stored = ("%s::tsvector", _vector) if connection.vendor == "postgresql" else ("%s", _line)
        with connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE audio_passage SET words = {value} WHERE id = %s",
                [(stored(passage.text), passage.pk) for passage in passages],
            )


def plain(text: str) -> str:
    """Remove control characters, which mark the matches."""
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cc" or letter in "\t\n")


def terms(query: str) -> list[str]:
    """Return the words of a query, and phrases in quotation marks; anything else is ignored."""
    word_groups = []
    for phrase, word in _PHRASE.findall(query[:LONGEST_QUERY]):
        words = re.findall(r"\w+", phrase) if phrase else [word] if word else []
        if words:
            word_groups.append(" ".join(words))
    return word_groups[:MOST_WORDS]


def find(user: User, wanted: Iterable[str], *, recording: Recording | None, limit: int, every: bool) -> list[Hit]:
    """Return visible segments with all (``every``) or any of these words and phrases, best first."""
    wanted = list(wanted)
    if not wanted:
        return []
    if connection.vendor != "sqlite":
        return _find_on_server(user, wanted, recording, limit, every)
    expression = (" AND " if every else " OR ").join(f'"{term}"' for term in wanted)
    if every:
        expression += " *"  # the last word may be incomplete
    condition, values = ("AND p.recording_id = %s", [recording.pk.hex]) if recording is not None else ("", [])
    try:
        seen, of_user = Recording.objects.visible_to(user).order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:  # nothing is visible
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


# Servers: words are separated here, not by their parsers, so that results do not depend on the server's locale.


def _words(text: str) -> list[tuple[str, int, int]]:
    """Return each word as compared (lower case, no diacritics), with its start and end [letters]."""
    return [(_compared(match[0]), match.start(), match.end()) for match in _WORD.finditer(text)]


def _compared(word: str) -> str:
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if unicodedata.category(letter) != "Mn")[:LONGEST_WORD]


def _vector(text: str) -> str:
    """Return a tsvector. Words hold letters and digits only, so nothing needs escaping."""
    return " ".join(f"'{word}':{place}" for place, (word, _begin, _end) in enumerate(_words(text), 1) if word)


def _line(text: str) -> str:
    return " ".join(["", *(word for word, _begin, _end in _words(text) if word), ""])


def _find_on_server(user: User, wanted: list[str], recording: Recording | None, limit: int, every: bool) -> list[Hit]:
    phrases = [phrase for term in wanted if (phrase := [word for word, _begin, _end in _words(term) if word])]
    if not phrases:
        return []
    passages = Passage.objects.visible_to(user).select_related("recording")
    if recording is not None:
        passages = passages.filter(recording=recording)
    sought = _in_postgresql if connection.vendor == "postgresql" else _in_mysql
    best = passages.extra(order_by=["-rank", "id"], **sought(phrases, every))
    return [
        Hit(
            passage.recording_id, passage.recording.name, passage.number, passage.start_s, passage.end_s,
            passage.speaker, passage.text, mark_safe(_as_html(_marked(passage.text, phrases, every))),
        )
        for passage in best[:limit]
    ]  # fmt: skip


def _in_postgresql(phrases: list[list[str]], every: bool) -> dict[str, Any]:
    alternatives = ["(" + " <-> ".join(f"'{word}'" for word in phrase) + ")" for phrase in phrases]
    expression = (" & " if every else " | ").join(alternatives)
    if every:
        expression = f"{expression[:-1]}:*)"  # the last word may be incomplete
    return {
        "where": ["audio_passage.words @@ %s::tsquery"], "params": [expression],
        "select": {"rank": "ts_rank(audio_passage.words, %s::tsquery)"}, "select_params": [expression],
    }  # fmt: skip


def _in_mysql(phrases: list[list[str]], every: bool) -> dict[str, Any]:
    """Scan all visible passages, as InnoDB's index omits short words; rank by the share of matching letters."""
    lines = [f" {' '.join(phrase)} " for phrase in phrases]
    if every:
        lines[-1] = lines[-1].rstrip()  # the last word may be incomplete
    left = "REPLACE(" * len(lines) + "audio_passage.words" + ", %s, '')" * len(lines)
    return {
        "where": [(" AND " if every else " OR ").join(["instr(audio_passage.words, %s) > 0"] * len(lines))],
        "params": lines,
        "select": {"rank": f"1 - CHAR_LENGTH({left}) / CHAR_LENGTH(audio_passage.words)"}, "select_params": lines,
    }  # fmt: skip


def _marked(text: str, phrases: list[list[str]], last_may_go_on: bool) -> str:
    """Return the text with BEGIN and END around the matches of these words and phrases."""
    words = _words(text)
    inside: set[int] = set()  # letters
    for number, phrase in enumerate(phrases):
        goes_on = last_may_go_on and number == len(phrases) - 1
        for at in range(len(words) - len(phrase) + 1):
            here = [word for word, _begin, _end in words[at : at + len(phrase)]]
            if here == phrase or (goes_on and here[:-1] == phrase[:-1] and here[-1].startswith(phrase[-1])):
                inside.update(range(words[at][1], words[at + len(phrase) - 1][2]))
    return "".join(
        (BEGIN if at in inside and at - 1 not in inside else "")
        + letter
        + (END if at in inside and at + 1 not in inside else "")
        for at, letter in enumerate(text)
    )


def _as_html(text: str) -> str:
    return escape(text).replace(BEGIN, "<mark>").replace(END, "</mark>")
