"""Punctuation, capitals and misheard words corrected by the owner's language model. Times and speakers remain.

The model must not rewrite: a segment in which it changes more than a limited fraction of the words is not changed. Thus
a recording cannot make it write something else.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import Any

from core.worded import worded
from pipeline.recordings.language_models import llm
from pipeline.recordings.summarization.language_model import segment_rows, texts_by_segment
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from pipeline.recordings.transcripts.words import retimed

CHANGED_FRACTION = 0.3  # fraction of a segment's words; one word may always change
TASK = (
    "Correct the punctuation, the capital letters and words that a speech recognizer has evidently misheard. Keep what "
    "was said: no rephrasing, nothing added, nothing left out, the same language. Answer with this JSON object, with "
    'every segment of the data once: {"segments": [{"segment": its number, "text": "the corrected text"}]}.'
)


def polish(transcript: Transcript) -> Transcript:
    """Correct all texts that no person has edited.

    Raises HarkError if the model is missing, or its answers are invalid.
    """
    chosen = llm.needed(worded("The transcript cannot be cleaned up."))
    corrected: dict[int, str] = {}
    unedited = tuple(replace(segment, text="") if segment.edited else segment for segment in transcript.segments)
    for rows in segment_rows(replace(transcript, segments=unedited), chosen.part_characters):
        # A segment too long for one request is split over several; it is not changed.
        whole = [row for row in rows if row["text"] == " ".join(transcript.segments[row["segment"]].text.split())]
        if whole:
            corrected |= llm.ask(TASK, whole, texts_by_segment([row["segment"] for row in whole]), chosen)
    segments = tuple(
        _corrected(segment, corrected[number]) if number in corrected else segment
        for number, segment in enumerate(transcript.segments)
    )
    return replace(transcript, segments=segments, versions={**transcript.versions, "polish": chosen.model})


def _corrected(segment: Segment, text: str) -> Segment:
    old, new = _bare(segment.text.split()), _bare(text.split())
    changed = sum(
        max(i2 - i1, j2 - j1)
        for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if kind != "equal"
    )
    if not new or changed > max(1, CHANGED_FRACTION * len(old)):
        return segment
    words = retimed(segment.words, text, segment.start_s, segment.end_s) if segment.words else ()
    return replace(segment, text=text, words=words)


def _bare(words: Any) -> list[str]:
    """Return words in lower case without punctuation, for counting changes; a lone punctuation mark remains."""
    return [re.sub(r"[^\w]+", "", word.lower()) or word for word in words]
