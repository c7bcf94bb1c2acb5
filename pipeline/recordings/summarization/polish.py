"""Punctuation, capitals and misheard words put right by the owner's language model; times and speakers stay.

The model may not rewrite: a segment in which it changes more than a bounded share of the words is kept as it was. So
nothing that is said in a recording can make it say something else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.worded import worded
from pipeline.recordings import llm
from pipeline.recordings.summarization.language_model import segment_rows, texts_by_segment
from pipeline.recordings.transcript import Segment, Transcript, Word

CHANGED_SHARE = 0.3  # of a segment's words; one word may always change
TASK = (
    "Correct the punctuation, the capital letters and words that a speech recognizer has evidently misheard. Keep what "
    "was said: no rephrasing, nothing added, nothing left out, the same language. Answer with this JSON object, with "
    'every segment of the data once: {"segments": [{"segment": its number, "text": "the corrected text"}]}.'
)


def polish(transcript: Transcript) -> Transcript:
    """The transcript with corrected texts. What a person has edited is not touched.

    Raises HarkError where no language model is set up, or it does not answer as it should.
    """
    chosen = llm.needed(worded("The transcript cannot be polished."))
    corrected: dict[int, str] = {}
    for rows in segment_rows(_unedited(transcript), chosen.part_characters):
        # A segment that was too long for one request is in several: it stays as it is.
        whole = [row for row in rows if row["text"] == " ".join(transcript.segments[row["segment"]].text.split())]
        if whole:
            corrected |= llm.ask(TASK, whole, texts_by_segment([row["segment"] for row in whole]), chosen)
    segments = tuple(
        _corrected(segment, corrected[number]) if number in corrected else segment
        for number, segment in enumerate(transcript.segments)
    )
    return replace(transcript, segments=segments, versions={**transcript.versions, "polish": chosen.model})


def _unedited(transcript: Transcript) -> Transcript:
    return transcript.with_segments(
        tuple(replace(segment, text="") if segment.edited else segment for segment in transcript.segments)
    )


def _corrected(segment: Segment, text: str) -> Segment:
    old, new = _bare(segment.text.split()), _bare(text.split())
    changed = sum(
        max(i2 - i1, j2 - j1)
        for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if kind != "equal"
    )
    if not new or changed > max(1, CHANGED_SHARE * len(old)):
        return segment
    return replace(segment, text=text, words=retimed(segment.words, text))


def retimed(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words of a text that has replaced these, with their times: where words agree their own, elsewhere they share
    the time of those they replace."""
    if not words:
        return ()
    shown = text.split()
    found: list[Word] = []
    matcher = difflib.SequenceMatcher(None, _bare(word.text for word in words), _bare(shown), autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            found += [replace(word, text=new) for word, new in zip(words[i1:i2], shown[j1:j2])]
            continue
        if i1 < i2:
            start_s, end_s = words[i1].start_s, words[i2 - 1].end_s
            confidence = min(word.confidence for word in words[i1:i2])
        else:  # something was put in between two words
            start_s = words[i1 - 1].end_s if i1 else words[0].start_s
            end_s = max(start_s, words[i1].start_s if i1 < len(words) else words[-1].end_s)
            confidence = 0.0  # nobody heard it
        step = (end_s - start_s) / max(1, j2 - j1)
        found += [
            Word(shown[j], start_s + (j - j1) * step, start_s + (j - j1 + 1) * step, confidence) for j in range(j1, j2)
        ]
    return tuple(found)


def _bare(words: Any) -> list[str]:
    """Words without what polishing may change freely; a sign alone is kept."""
    return [re.sub(r"[^\w]+", "", word.lower()) or word for word in words]
