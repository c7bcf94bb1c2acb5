"""A summary, each point with the segments it rests on, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path
from core.errors import HarkError
from pipeline.recordings.transcript import Transcript

Abstract = Callable[[dict[str, Any]], dict[str, Any]]  # a request of the model server, and its answer

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
    """What a recording comes down to.

    Attributes:
        segments: what ``text`` rests on.
        engine: who wrote it, with its model ("extractive LSA").
        note: what the reader should know about how it came about ("" where it went as asked).
        made_of: :func:`words_of` the transcript that it is of ("" where nobody kept it).
    """

    text: str
    key_points: tuple[Point, ...]
    action_items: tuple[Point, ...]
    sentiment: Sentiment | None  # None where nobody can tell: no lexicon of that language
    engine: str
    segments: tuple[int, ...] = ()
    note: str = ""
    made_of: str = ""


def words_of(transcript: Transcript) -> str:
    """A digest of what is said, by which a summary is known to be older than a correction."""
    said = "\n".join(segment.text for segment in transcript.segments)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def as_json(summary: Summary) -> dict[str, Any]:
    """The object that :func:`from_json` reads."""
    return {"schema": SCHEMA, **asdict(summary)}


def from_json(content: Mapping[str, Any]) -> Summary:
    """The reverse of :func:`as_json`. Raises ValueError, KeyError or TypeError for anything else."""
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']}")
    values = {name: value for name, value in content.items() if name != "schema"}
    for name in ("key_points", "action_items"):
        values[name] = tuple(Point(row["text"], tuple(row["segments"])) for row in content[name])
    sentiment = content["sentiment"]
    values["sentiment"] = None if sentiment is None else Sentiment(**sentiment)
    values["segments"] = tuple(content["segments"])
    return Summary(**values)


def save_summary(summary: Summary, path: Path) -> None:
    """Write it as JSON, whole or not at all. Raises OSError."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_json(summary), ensure_ascii=False), encoding="utf-8")


def load_summary(path: Path) -> Summary:
    """Read what :func:`save_summary` wrote. Raises HarkError where it is gone, cut off or of another version."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkError(
            "The summary cannot be read.", f"{path.name}: {error}.", "Have the recording summarized again."
        ) from error
