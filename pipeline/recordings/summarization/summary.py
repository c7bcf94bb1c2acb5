"""A summary, each point with the segments it rests on, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path, storing
from pipeline.recordings.transcript import Transcript

SCHEMA = 1  # of the file
SENTIMENTS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Point:
    """One sentence and the numbers of the transcript's segments (from 0) that say it; never none."""

    text: str
    segments: tuple[int, ...]


@dataclass(frozen=True)
class Sentiment:
    """How it sounds: one of :data:`SENTIMENTS`, and a score from -1 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Summary:
    """What a recording comes down to."""

    text: str
    key_points: tuple[Point, ...]
    action_items: tuple[Point, ...]
    sentiment: Sentiment | None  # None where nobody can tell: no lexicon of that language
    engine: str  # who wrote it, with its model ("extractive LSA")
    segments: tuple[int, ...] = ()  # what ``text`` rests on
    note: str = ""  # what the reader should know about how it came about ("" where it went as asked)
    made_of: str = ""  # :func:`words_of` the transcript that it is of ("" where nobody kept it)


def words_of(transcript: Transcript) -> str:
    """A digest of what is said, by which a summary is known to be older than a correction."""
    said = "\n".join(segment.text for segment in transcript.segments)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def as_json(summary: Summary) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(summary)}


def save_summary(summary: Summary, path: Path) -> None:
    """Write it as JSON, whole or not at all. Raises HarkError where it cannot be kept."""
    with storing("keeping the summary"), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_json(summary), ensure_ascii=False), encoding="utf-8")
