"""When the words of a text are said that has replaced what was recognized."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.recordings.transcript import Word
from pipeline.recordings.transcription.whisper_text import spread

_EDGES = re.compile(r"^\W+|\W+$")


def retimed(
    words: Sequence[Word], text: str, start_s: float, end_s: float, confidence: float | None = None
) -> tuple[Word, ...]:
    """Return the words of a text, with the times of those that it replaces.

    Words that stay keep their times and confidence. Others share the time of those that they replace, or the gap
    between two words, or between a word and the end of the segment.

    Args:
        start_s, end_s: of the segment.
        confidence: of words that are new; None: the least of those that they replace, 0 where there are none.
    """
    shown = text.split()
    found: list[Word] = []
    old, new = ([_bare(word) for word in said] for said in ((word.text for word in words), shown))
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found += [replace(word, text=new) for word, new in zip(words[i1:i2], shown[j1:j2], strict=True)]
            continue
        if i1 < i2:
            start, end = words[i1].start_s, words[i2 - 1].end_s
        else:
            start = words[i1 - 1].end_s if i1 else start_s
            end = words[i1].start_s if i1 < len(words) else end_s
        sure = min((word.confidence for word in words[i1:i2]), default=0.0) if confidence is None else confidence
        found += spread(" ".join(shown[j1:j2]), start, max(start, end), sure)
    return tuple(found)


def _bare(word: str) -> str:
    """Without case and without the punctuation around it: these change nothing about when a word was said."""
    return _EDGES.sub("", word).casefold() or word
