"""Full-text search in a user's transcripts, by SQLite's FTS5."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from pipeline.recordings.transcript import Transcript
from webui.accounts.models import User
from webui.audio.models import Passage, Recording

MOST_WORDS = 32  # of a query
LONGEST_QUERY = 400  # letters
BEGIN, END = "\x02", "\x03"  # around what matched; no text has them
_PHRASE = re.compile(r'"([^"]*)"|(\w+)')


@dataclass(frozen=True)
class Hit:
    """A segment in which words were found; ``marked`` is its text as HTML with what matched in <mark>."""

    recording_id: UUID
    recording: str  # its name
    number: int
    start_s: float
    end_s: float
    speaker: str
    text: str
    marked: SafeString


def index(recording: Recording, transcript: Transcript) -> None:
    """Make all of a transcript's segments findable; what was there of it before goes."""
    Passage.objects.filter(recording=recording).delete()
    Passage.objects.bulk_create(
        Passage(
            recording=recording, number=number, start_s=segment.start_s, end_s=segment.end_s,
            speaker=transcript.speaker_name(segment.speaker)[:100], text=plain(segment.text),
        )
        for number, segment in enumerate(transcript.segments)
    )  # fmt: skip


def plain(text: str) -> str:
    """Without control characters, which mark the matches."""
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cc" or letter in "\t\n")


def terms(query: str) -> list[str]:
    """What is looked for: words, and phrases that stand in quotation marks. Whatever else is typed is left out."""
    found = []
    for phrase, word in _PHRASE.findall(query[:LONGEST_QUERY]):
        words = re.findall(r"\w+", phrase) if phrase else [word] if word else []
        if words:
            found.append(" ".join(words))
    return found[:MOST_WORDS]


def find(user: User, wanted: Iterable[str], *, recording: Recording | None, limit: int, every: bool) -> list[Hit]:
    """Segments with all (``every``) or any of these words and phrases, best first."""
    wanted = list(wanted)
    if not wanted:
        return []
    expression = (" AND " if every else " OR ").join(f'"{term}"' for term in wanted)
    if every:
        expression += " *"  # the last word may still be being typed
    condition, values = ("AND p.recording_id = %s", [recording.pk.hex]) if recording is not None else ("", [])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.recording_id, r.name, p.number, p.start_s, p.end_s, p.speaker, p.text,"
            " highlight(audio_passage_words, 0, %s, %s)"
            " FROM audio_passage_words JOIN audio_passage p ON p.id = audio_passage_words.rowid"
            " JOIN audio_recording r ON r.id = p.recording_id"
            f" WHERE audio_passage_words MATCH %s AND r.user_id = %s {condition}"
            " ORDER BY bm25(audio_passage_words), p.id LIMIT %s",
            [BEGIN, END, expression, user.pk, *values, limit],
        )
        return [
            Hit(UUID(pk), name, number, start_s, end_s, speaker, text, mark_safe(_as_html(marked)))
            for pk, name, number, start_s, end_s, speaker, text, marked in cursor.fetchall()
        ]


def _as_html(text: str) -> str:
    return escape(text).replace(BEGIN, "<mark>").replace(END, "</mark>")
