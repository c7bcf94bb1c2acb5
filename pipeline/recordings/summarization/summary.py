"""A summary whose points cite their segments, and its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path, storing
from pipeline.recordings.transcripts.transcript import Transcript

SCHEMA = 1  # schema of the file
SENTIMENTS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Point:
    """A sentence, and the indices of the transcript's segments that support it (at least one)."""

    text: str
    segments: tuple[int, ...]


@dataclass(frozen=True)
class Sentiment:
    """One of :data:`SENTIMENTS`, and a score from -1 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Summary:
    """The summary of a recording."""

    text: str
    key_points: tuple[Point, ...]
    action_items: tuple[Point, ...]
    sentiment: Sentiment | None  # None without a lexicon for the language
    engine: str  # with its model ("extractive LSA")
    segments: tuple[int, ...] = ()  # the sources of ``text``
    note: str = ""  # a remark on how it was made; "" if as requested
    made_of: str = ""  # :func:`words_of` its transcript; "" if not recorded


def words_of(transcript: Transcript) -> str:
    """Return a digest of the words, which shows whether a summary is older than a correction."""
    text = "\n".join(segment.text for segment in transcript.segments)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_json(summary: Summary) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(summary)}


def save_summary(summary: Summary, path: Path) -> None:
    """Write a summary as JSON, atomically. Raises HarkError if that fails."""
    with storing("saving the summary"), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_json(summary), ensure_ascii=False), encoding="utf-8")
