"""The transcript of a recording: segments with words, times and speakers, and the file that stores them.

Every recognition engine returns segments, diarization adds the speakers, and pages, captions, answers and summaries
read nothing else. Times are seconds from the start of the recording, confidences are in [0, 1].
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path
from core.errors import HarkError
from core.worded import worded

SCHEMA = 1  # schema of the file
NOT_RECOGNIZED = worded("[not recognized]")
UNNAMED = re.compile(r"Speaker (\d+)")  # the name of a speaker without a name


@dataclass(frozen=True)
class Word:
    """A word as displayed, with its punctuation and without spaces."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """The words of one person without a longer pause; ``text`` joins them with spaces.

    ``text`` is empty for a long segment of speech in which no words were recognized. ``edited`` means that a person has
    corrected the text; ``words`` then keep recognized times where texts agree, and share the rest.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    language: str = ""  # of this segment; "" if it is the transcript's
    speaker: str = ""  # an id such as "S1", a key of ``Transcript.speakers``; "" if unknown
    overlap: bool = False  # whether another person speaks at the same time
    edited: bool = False

    @property
    def shown(self) -> str:
        """The text as written to files."""
        return self.text or NOT_RECOGNIZED


@dataclass(frozen=True)
class Transcript:
    """The transcript of a whole recording.

    Attributes:
        speakers: names by speaker id, in the order of their first words
        sounds_like: remembered voices that are similar to speakers', by speaker id, until the speaker has a name
    """

    duration_s: float
    language: str
    engine: str  # with its model ("faster-whisper small")
    segments: tuple[Segment, ...] = ()
    speakers: Mapping[str, str] = field(default_factory=dict)
    diarization: str = ""  # "channels", "acoustic" or "pyannote"; "" if none
    versions: Mapping[str, str] = field(default_factory=dict)  # versions of the models that were used, for provenance
    sounds_like: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(segment.text for segment in self.segments)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The start and end of each segment [s]."""
        return [(segment.start_s, segment.end_s) for segment in self.segments]

    def speaker_name(self, speaker: str) -> str:
        return self.speakers.get(speaker, speaker)


def as_json(transcript: Transcript) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(transcript)}


def from_json(content: Mapping[str, Any]) -> Transcript:
    """Build a transcript from :func:`as_json`'s output. Raises ValueError, KeyError or TypeError if it is invalid."""
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']}")
    values = {name: value for name, value in content.items() if name not in ("schema", "segments")}
    return Transcript(segments=tuple(map(segment_of_json, content["segments"])), **values)


def segment_of_json(content: Mapping[str, Any]) -> Segment:
    """Build a segment from the output of ``dataclasses.asdict``. Raises TypeError or KeyError if it is invalid."""
    return Segment(**{**content, "words": tuple(Word(**word) for word in content["words"])})


def save_transcript(transcript: Transcript, path: Path) -> None:
    """Write a transcript as JSON, atomically. Raises OSError if that fails."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_json(transcript), ensure_ascii=False), encoding="utf-8")


def load_transcript(path: Path) -> Transcript:
    """Read a transcript from :func:`save_transcript`. Raises HarkError if it is unusable."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkError(
            worded("The transcript cannot be read."),
            f"{path.name}: {error}.",
            worded("Transcribe the recording again."),
        ) from error
