"""Effects of a correction on a segment's words and on a summary's citations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.recordings.transcripts.transcript import Segment, Word
from pipeline.recordings.transcripts.words import retimed, segment_of, spread

POINTS = ("key_points", "action_items")  # lists of points in a summary


def corrected(segment: Segment, text: str) -> Segment:
    """Return the segment with a new text, with words timed by the old ones.

    Unchanged words have their old times. New words share the time of the words that they replace, and are certain
    (confidence 1), because a person wrote them.
    """
    words = retimed(segment.words, text, segment.start_s, segment.end_s, 1.0) if segment.words else ()
    confidence = sum(word.confidence for word in words) / len(words) if words else 1.0
    return replace(segment, text=" ".join(text.split()), words=words, confidence=round(confidence, 4), edited=True)


def divided(segment: Segment, word: int) -> tuple[Segment, Segment]:
    """Split the segment before the word with this index, which must not be 0 or beyond the last word."""

    def part(words: tuple[Word, ...]) -> Segment:
        half = segment_of(words, segment.language)
        assert half is not None
        return replace(segment, text=half.text, words=words, confidence=half.confidence)

    first, second = part(segment.words[:word]), part(segment.words[word:])
    return replace(first, end_s=first.words[-1].end_s), replace(second, start_s=second.words[0].start_s)


def joined(first: Segment, second: Segment) -> Segment:
    # A corrected passage that was not recognized has a text without words.
    words = [one.words or spread(one.text, one.start_s, one.end_s, one.confidence) for one in (first, second)]
    lengths = [max(1, len(one.text.split())) for one in (first, second)]
    confidence = (first.confidence * lengths[0] + second.confidence * lengths[1]) / sum(lengths)
    return replace(
        first, end_s=max(first.end_s, second.end_s), text=f"{first.text} {second.text}".strip(),
        words=words[0] + words[1], confidence=round(confidence, 4), overlap=first.overlap or second.overlap,
        edited=first.edited or second.edited,
    )  # fmt: skip


def without_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the summary (as in ``summary.json``) without citations of a segment that is removed.

    The numbers of later segments decrease by one. A point that cited only that segment is removed.
    """
    changed = _citing(summary, lambda cited: [n - (n > number) for n in cited if n != number])
    return {**changed, **{name: [point for point in changed[name] if point["segments"]] for name in POINTS}}


def with_other_segments(
    summary: Mapping[str, Any], before: Sequence[Segment], after: Sequence[Segment]
) -> dict[str, Any]:
    """Return the summary with citations of a new segmentation.

    Each cited segment is replaced by the new segments whose middle lies within its time.
    """

    def segments_within(cited: list[int]) -> list[int]:
        spans = [(before[n].start_s, before[n].end_s) for n in cited if n < len(before)]
        middles = enumerate((segment.start_s + segment.end_s) / 2 for segment in after)
        return [n for n, at in middles if any(start <= at <= end for start, end in spans)]

    return _citing(summary, segments_within)


def with_joined_segments(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the summary after segment ``number`` was joined with the next: citations of either cite the joint one."""
    return _citing(summary, lambda cited: sorted({n - (n > number) for n in cited}))


def with_divided_segment(summary: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the summary after segment ``number`` became two: its citations now cite both parts."""

    def with_both_parts(cited: list[int]) -> list[int]:
        numbers: list[int] = []
        for n in cited:
            numbers += [n, n + 1] if n == number else [n + (n > number)]
        return numbers

    return _citing(summary, with_both_parts)


def _citing(summary: Mapping[str, Any], renumbered: Callable[[list[int]], list[int]]) -> dict[str, Any]:
    """Return the summary with the cited segment numbers of its text and its points converted by ``renumbered``."""

    def changed(point: Mapping[str, Any]) -> dict[str, Any]:
        return {**point, "segments": renumbered(point["segments"])}

    return {**changed(summary), **{name: [changed(point) for point in summary[name]] for name in POINTS}}
