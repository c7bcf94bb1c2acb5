"""Words with times: as recognizers give them, and of texts that replace recognized ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcripts.transcript import Segment, Word

# Languages without spaces, in which words do not begin with one.
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "yue"})

_EDGES = re.compile(r"^\W+|\W+$")

RawWord = tuple[str, float, float, float]  # text with the space before it, start [s], end [s], confidence


def words_of(raw: Iterable[RawWord], language: str, seconds: float) -> tuple[Word, ...]:
    """Return the words of a chunk of ``seconds``, joining those that do not begin with a space ("well" + "-known").

    A model processes every chunk as 30 s, so words may be after the end.
    """
    spaced = base_language(language or "en") not in UNSPACED
    words: list[Word] = []
    for text, start, end, confidence in raw:
        shown = "".join(text.split())
        if not shown:
            continue
        start = min(max(0.0, float(start)), seconds)
        end = min(max(start, float(end)), seconds)
        confidence = min(1.0, max(0.0, float(confidence)))
        if words and spaced and not text[0].isspace():
            before = words[-1]
            words[-1] = Word(before.text + shown, before.start_s, round(end, 3), min(before.confidence, confidence))
        else:
            words.append(Word(shown, round(start, 3), round(end, 3), round(confidence, 4)))
    return tuple(words)


def spread(text: str, start_s: float, end_s: float, confidence: float) -> tuple[Word, ...]:
    """Divide the time of a text among its words in proportion to their lengths, for engines without word times."""
    shown = text.split()
    letters = sum(len(word) + 1 for word in shown) or 1
    words: list[Word] = []
    at = 0
    for word in shown:
        begin = start_s + (end_s - start_s) * at / letters
        at += len(word) + 1
        words.append(Word(word, round(begin, 3), round(start_s + (end_s - start_s) * at / letters, 3), confidence))
    return tuple(words)


def segment_of(words: Sequence[Word], language: str) -> Segment | None:
    """Return a segment of these words, with their mean confidence; None if there are none."""
    if not words:
        return None
    confidence = round(sum(word.confidence for word in words) / len(words), 4)
    text = " ".join(word.text for word in words)
    return Segment(words[0].start_s, words[-1].end_s, text, confidence, tuple(words), language)


def retimed(
    words: Sequence[Word], text: str, start_s: float, end_s: float, confidence: float | None = None
) -> tuple[Word, ...]:
    """Return the words of a text, with times from the words that it replaces.

    Unchanged words keep their times and confidence. Others share the time of those that they replace, or the gap
    between two words, or between a word and the end of the segment.

    Args:
        start_s, end_s: times of the segment.
        confidence: confidence of new words; None for the lowest of those that they replace, or 0 if there are none.
    """
    shown = text.split()
    result: list[Word] = []
    # Case, and punctuation around a word, do not affect its time.
    texts = ([word.text for word in words], shown)
    old, new = ([_EDGES.sub("", word).casefold() or word for word in side] for side in texts)
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            result += [replace(word, text=new) for word, new in zip(words[i1:i2], shown[j1:j2], strict=True)]
            continue
        if i1 < i2:
            start, end = words[i1].start_s, words[i2 - 1].end_s
        else:
            start = words[i1 - 1].end_s if i1 else start_s
            end = words[i1].start_s if i1 < len(words) else end_s
        sure = min((word.confidence for word in words[i1:i2]), default=0.0) if confidence is None else confidence
        result += spread(" ".join(shown[j1:j2]), start, max(start, end), sure)
    return tuple(result)
