"""What becomes of a segment's words, and of what a summary cites, when a person corrects a transcript."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.recordings.transcript import Segment, Word

_EDGES = re.compile(r"^\W+|\W+$")


def corrected(segment: Segment, text: str) -> Segment:
    """The segment with another text. Words that stay keep their times, others share those of what they replace.

    A word that a person wrote is certain (confidence 1).
    """
    new = text.split()
    old = segment.words
    if not old:
        return replace(segment, text=" ".join(new), edited=True, confidence=1.0)
    matcher = difflib.SequenceMatcher(None, [_bare(word.text) for word in old], [_bare(word) for word in new], False)
    words: list[Word] = []
    for what, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        if what == "equal":
            pairs = zip(old[from_old:to_old], new[from_new:to_new], strict=True)
            words += [was if was.text == word else replace(was, text=word) for was, word in pairs]
        elif from_new < to_new:
            # The time of what they replace, or the gap where nothing was.
            start = old[from_old].start_s if from_old < to_old else words[-1].end_s if words else segment.start_s
            end = old[to_old - 1].end_s if from_old < to_old else old[from_old].start_s if from_old < len(old) else 0.0
            end = max(start, end) if from_old < to_old or from_old < len(old) else max(start, segment.end_s)
            words += _spread(new[from_new:to_new], start, end)
    confidence = sum(word.confidence for word in words) / len(words) if words else 1.0
    return replace(segment, text=" ".join(new), words=tuple(words), confidence=round(confidence, 4), edited=True)


def divided(segment: Segment, word: int) -> tuple[Segment, Segment]:
    """The segment as two, of which the second begins with this word (its number in ``words``, neither first nor
    beyond the last)."""

    def part(words: tuple[Word, ...]) -> Segment:
        confidence = round(sum(one.confidence for one in words) / len(words), 4)
        text = " ".join(one.text for one in words)
        return replace(segment, text=text, words=words, confidence=confidence)

    first, second = part(segment.words[:word]), part(segment.words[word:])
    return replace(first, end_s=first.words[-1].end_s), replace(second, start_s=second.words[0].start_s)


def joined(first: Segment, second: Segment) -> Segment:
    """Two segments, one after the other, as one."""
    words = first.words + second.words
    lengths = [max(1, len(one.text.split())) for one in (first, second)]
    confidence = (first.confidence * lengths[0] + second.confidence * lengths[1]) / sum(lengths)
    return replace(
        first, end_s=max(first.end_s, second.end_s), text=f"{first.text} {second.text}", words=words,
        confidence=round(confidence, 4), overlap=first.overlap or second.overlap, edited=first.edited or second.edited,
    )  # fmt: skip


def _bare(word: str) -> str:
    """A word without case and without the punctuation around it: these change nothing about when it was said."""
    return _EDGES.sub("", word).casefold() or word


def _spread(words: list[str], start_s: float, end_s: float) -> list[Word]:
    """Words one after another, each as long as its letters are many."""
    total = sum(map(len, words))
    made, said = [], 0
    for word in words:
        begins, said = said, said + len(word)
        span = end_s - start_s
        times = [round(start_s + span * letters / total, 3) for letters in (begins, said)]
        made.append(Word(word, times[0], times[1], 1.0))
    return made


def without_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A summary (as in ``summary.json``) after a segment was removed: later ones have a smaller number now.

    A point that rests on nothing else goes with it.
    """

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        return {**point, "segments": [n - (n > number) for n in point["segments"] if n != number]}

    points = {
        name: [new for new in map(changed, summary[name]) if new["segments"]] for name in ("key_points", "action_items")
    }
    return {**changed(summary), **points}


def with_other_segments(
    summary: Mapping[str, Any], before: Sequence[Segment], after: Sequence[Segment]
) -> dict[str, Any]:
    """A summary after segments were cut elsewhere: what rests on one rests on all that are said in its time."""

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        spans = [(before[n].start_s, before[n].end_s) for n in point["segments"] if n < len(before)]
        middles = enumerate((segment.start_s + segment.end_s) / 2 for segment in after)
        return {**point, "segments": [n for n, at in middles if any(start <= at <= end for start, end in spans)]}

    points = {name: [changed(point) for point in summary[name]] for name in ("key_points", "action_items")}
    return {**changed(summary), **points}


def with_joined_segments(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A summary after a segment and the next became one: what rests on either rests on it."""

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        return {**point, "segments": sorted({n - (n > number) for n in point["segments"]})}

    points = {name: [changed(point) for point in summary[name]] for name in ("key_points", "action_items")}
    return {**changed(summary), **points}


def with_divided_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A summary after a segment became two: what rests on it rests on both, and later ones have a larger number."""

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        places = [place for n in point["segments"] for place in ([n, n + 1] if n == number else [n + (n > number)])]
        return {**point, "segments": places}

    points = {name: [changed(point) for point in summary[name]] for name in ("key_points", "action_items")}
    return {**changed(summary), **points}
