"""Effects of a correction on a segment's words and on a summary's citations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.recordings.transcript import Segment, Word
from pipeline.recordings.words import retimed, segment_of

POINTS = ("key_points", "action_items")  # lists of points in a summary


def corrected(segment: Segment, text: str) -> Segment:
    """Return the segment with a different text. Unchanged words keep their times. New ones share those they replace.

    A word that a person wrote is certain (confidence 1).
    """
    words = retimed(segment.words, text, segment.start_s, segment.end_s, 1.0) if segment.words else ()
    confidence = sum(word.confidence for word in words) / len(words) if words else 1.0
    return replace(segment, text=" ".join(text.split()), words=words, confidence=round(confidence, 4), edited=True)


def divided(segment: Segment, word: int) -> tuple[Segment, Segment]:
    """Split the segment before this word (its index in ``words``, neither 0 nor beyond the last)."""

    def part(words: tuple[Word, ...]) -> Segment:
        half = segment_of(words, segment.language)
        assert half is not None
        return replace(segment, text=half.text, words=words, confidence=half.confidence)

    first, second = part(segment.words[:word]), part(segment.words[word:])
    return replace(first, end_s=first.words[-1].end_s), replace(second, start_s=second.words[0].start_s)


def joined(first: Segment, second: Segment) -> Segment:
    words = first.words + second.words
    lengths = [max(1, len(one.text.split())) for one in (first, second)]
    confidence = (first.confidence * lengths[0] + second.confidence * lengths[1]) / sum(lengths)
    return replace(
        first, end_s=max(first.end_s, second.end_s), text=f"{first.text} {second.text}", words=words,
        confidence=round(confidence, 4), overlap=first.overlap or second.overlap, edited=first.edited or second.edited,
    )  # fmt: skip


def without_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a summary (as in ``summary.json``) after the removal of a segment, with later numbers lowered.

    A point that cites no other segment is removed too.
    """
    changed = _citing(summary, lambda cited: [n - (n > number) for n in cited if n != number])
    return {**changed, **{name: [point for point in changed[name] if point["segments"]] for name in POINTS}}


def with_other_segments(
    summary: Mapping[str, Any], before: Sequence[Segment], after: Sequence[Segment]
) -> dict[str, Any]:
    """Return a summary after a new segmentation: a citation becomes all segments in the time of the cited one."""

    def segments_within(cited: list[int]) -> list[int]:
        spans = [(before[n].start_s, before[n].end_s) for n in cited if n < len(before)]
        middles = enumerate((segment.start_s + segment.end_s) / 2 for segment in after)
        return [n for n, at in middles if any(start <= at <= end for start, end in spans)]

    return _citing(summary, segments_within)


def with_joined_segments(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a summary after a segment and the next were joined: citations of either refer to the joined one."""
    return _citing(summary, lambda cited: sorted({n - (n > number) for n in cited}))


def with_divided_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a summary after a segment was split: its citations refer to both parts, with later numbers raised."""

    def with_both_parts(cited: list[int]) -> list[int]:
        numbers: list[int] = []
        for n in cited:
            numbers += [n, n + 1] if n == number else [n + (n > number)]
        return numbers

    return _citing(summary, with_both_parts)


def _citing(summary: Mapping[str, Any], renumbered: Callable[[list[int]], list[int]]) -> dict[str, Any]:
    """Return a summary with the segment numbers of its text and points mapped by ``renumbered``."""

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        return {**point, "segments": renumbered(point["segments"])}

    return {**changed(summary), **{name: [changed(point) for point in summary[name]] for name in POINTS}}
