"""Turns of speakers: the result of every diarization method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise


@dataclass(frozen=True)
class Turn:
    """A turn of one speaker from ``start_s`` to ``end_s``; with ``overlap``, another one speaks at the same time."""

    start_s: float
    end_s: float
    speaker: str
    overlap: bool = False


@dataclass(frozen=True)
class Diarization:
    """The turns of a recording, by start.

    Attributes:
        embeddings: each speaker's voice, if it was computed (256 dimensions, length 1)
        sounds_like: the remembered voice that is similar to each speaker's, for a user to confirm
    """

    turns: tuple[Turn, ...]
    method: str  # "channels", "acoustic" or "pyannote"
    names: Mapping[str, str] = field(default_factory=dict)  # names of speakers, if channels define them
    versions: Mapping[str, str] = field(default_factory=dict)  # versions of the models that were used
    embeddings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sounds_like: Mapping[str, str] = field(default_factory=dict)

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


def with_overlaps(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Split turns where others begin or end, and mark overlapping parts; the result is sorted by start."""
    turns = list(turns)
    edges = sorted({edge for turn in turns for edge in (turn.start_s, turn.end_s)})
    result: list[Turn] = []
    for turn in turns:
        parts: list[Turn] = []
        inside = [edge for edge in edges if turn.start_s < edge < turn.end_s]
        for start, end in pairwise([turn.start_s, *inside, turn.end_s]):
            overlap = any(
                other.speaker != turn.speaker and other.start_s < end and start < other.end_s for other in turns
            )
            if parts and parts[-1].overlap == overlap:
                parts[-1] = replace(parts[-1], end_s=end)
            else:
                parts.append(Turn(start, end, turn.speaker, overlap))
        result += parts
    return tuple(sorted(result, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker)))
