"""What was said in a recording: segments with words, times and speakers, and the file that keeps them.

Every engine of recognition gives segments, diarization fills in who spoke, and the pages, the captions, the answers and
the summaries read nothing else. Times are seconds from the start of the recording, confidences lie in [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path
from core.errors import HarkError
from core.worded import worded

SCHEMA = 1  # of the file


@dataclass(frozen=True)
class Word:
    """One word as it is shown, with the punctuation that belongs to it and no spaces."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """What one person says without a longer pause; ``text`` is its words with spaces between. ``edited``: a person has
    corrected it; ``words`` then keep what was heard where texts agree, and share the time of the segment where they do
    not."""

    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    language: str = ""  # of this segment, "" where it is the transcript's
    speaker: str = ""  # an id such as "S1", a key of ``Transcript.speakers``; "" where it is not known.
    overlap: bool = False  # somebody else speaks at the same time
    edited: bool = False


@dataclass(frozen=True)
class Transcript:
    """A whole recording.

    Attributes:
        speakers: what each speaker's id is shown as; ids in the order of their first words
        sounds_like: by a speaker's id, whose remembered voice it is near, until the speaker has a name
    """

    duration_s: float
    language: str
    engine: str  # which engine of recognition wrote it, with its model ("faster-whisper small")
    segments: tuple[Segment, ...] = ()
    speakers: Mapping[str, str] = field(default_factory=dict)
    diarization: str = ""  # how speakers were told apart: "channels", "acoustic", "pyannote"; "" where nobody asked
    versions: Mapping[str, str] = field(default_factory=dict)  # of the models that took part, for provenance
    sounds_like: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(segment.text for segment in self.segments)

    def speaker_name(self, speaker: str) -> str:
        """What a speaker is called; the id itself where nobody has named it."""
        return self.speakers.get(speaker, speaker)


def as_json(transcript: Transcript) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(transcript)}


def from_json(content: Mapping[str, Any]) -> Transcript:
    """The reverse of :func:`as_json`. Raises ValueError, KeyError or TypeError for anything else."""
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']}")
    values = {name: value for name, value in content.items() if name not in ("schema", "segments")}
    return Transcript(segments=tuple(map(segment_of_json, content["segments"])), **values)


def segment_of_json(content: Mapping[str, Any]) -> Segment:
    """The reverse of ``dataclasses.asdict``. Raises TypeError or KeyError for anything else."""
    return Segment(**{**content, "words": tuple(Word(**word) for word in content["words"])})


def save_transcript(transcript: Transcript, path: Path) -> None:
    """Write it as JSON, whole or not at all. Raises OSError."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_json(transcript), ensure_ascii=False), encoding="utf-8")


def load_transcript(path: Path) -> Transcript:
    """Read what :func:`save_transcript` wrote. Raises HarkError where it is gone, cut off or of another version."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkError(
            worded("The transcript cannot be read."),
            f"{path.name}: {error}.",
            worded("Have the recording transcribed again."),
        ) from error
