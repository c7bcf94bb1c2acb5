"""Segments for display: speech without a longer pause, short enough to read at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.recordings.transcripts.transcript import Segment, Word
from pipeline.recordings.transcripts.words import segment_of

PAUSE_S = 0.8  # seconds; a longer pause separates segments
MAX_DURATION_S = 15.0  # seconds per segment; a longer one is split at its longest pause
MIN_OVERLAP_S = 0.2  # a segment is marked if two people speak in at least this many seconds of it
EDGE = 0.2  # fraction of the words at each end where it is not split, because a single word is too short to read


def split(segment: Segment) -> list[Segment]:
    """Split a segment at its pauses. One without words, or without long pauses, is returned unchanged."""
    words = segment.words
    if not words:
        return [segment]
    parts: list[Sequence[Word]] = []
    first = 0
    for number in range(1, len(words) + 1):
        if number == len(words) or words[number].start_s - words[number - 1].end_s > PAUSE_S:
            parts += _short(words[first:number])
            first = number
    if len(parts) == 1:
        return [segment]
    segments = [segment_of(part, segment.language) for part in parts]
    return [replace(part, speaker=segment.speaker) for part in segments if part is not None]


def _short(words: Sequence[Word]) -> list[Sequence[Word]]:
    done: list[Sequence[Word]] = []
    waiting = [words]
    while waiting:
        part = waiting.pop()
        if part[-1].end_s - part[0].start_s <= MAX_DURATION_S or len(part) == 1:
            done.append(part)
            continue
        edge = int(EDGE * len(part))
        places = range(max(1, edge), max(2, len(part) - edge))
        # On a tie, the pause nearest to the middle.
        at = max(places, key=lambda n: (round(part[n].start_s - part[n - 1].end_s, 2), -abs(2 * n - len(part))))
        waiting += [part[at:], part[:at]]
    return done


def shifted(segment: Segment, seconds: float, speaker: str = "") -> Segment:
    words = tuple(
        replace(word, start_s=round(word.start_s + seconds, 3), end_s=round(word.end_s + seconds, 3))
        for word in segment.words
    )
    return replace(
        segment,
        start_s=round(segment.start_s + seconds, 3),
        end_s=round(segment.end_s + seconds, 3),
        words=words,
        speaker=speaker or segment.speaker,
    )


def with_overlaps(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Sort segments by time, and mark those with overlapping speakers."""
    ordered = sorted(segments, key=lambda segment: (segment.start_s, segment.end_s))
    marked = set()
    for number, earlier in enumerate(ordered):
        for later in range(number + 1, len(ordered)):
            other = ordered[later]
            if other.start_s >= earlier.end_s:
                break
            if other.speaker != earlier.speaker and min(earlier.end_s, other.end_s) - other.start_s >= MIN_OVERLAP_S:
                marked |= {number, later}
    return tuple(replace(s, overlap=True) if n in marked else s for n, s in enumerate(ordered))
