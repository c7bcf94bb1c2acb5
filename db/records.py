"""The records of the clip library: plain frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

REAL_ENGINES = ("corpus", "mined")  # engines of clips by people: whole recordings, and clips mined from them
BANK = "bank:"  # prefix of a corpus: engine of the shipped real speech, in stored tables and reports

# A portal's recording is a corpus named "recording-UUID", of speakers named "UUID" or "UUID-...".
RECORDING = "recording"
RECORDING_CORPUS = f"{RECORDING}-________-____-____-____-____________"  # a pattern for LIKE


@dataclass(frozen=True)
class NewClip:
    """A clip to be stored, once per ``request_id`` (generated or mined clips) or ``source`` (imported ones).

    Attributes:
        audio: mono float32 [samples] at 16 kHz, at least one sample, finite.
        text: the text given to the engine, or the corpus's transcript, with punctuation.
        text_normalized: ``normalize(text, language)``; used for search and counts.
        engine: the engine's name; "corpus" for imported clips.
        source: ``source_id(corpus, path inside the corpus)``.
        parent_id, start_s, end_s: the clip that this one was cut from, and its position there [seconds].
        text_known: False if the words are unknown; such a clip is never found by its text.
    """

    audio: np.ndarray
    text: str
    text_normalized: str
    language: str
    engine: str
    model: str = ""
    voice: str = ""
    speaker: str = ""
    licence: str = "unknown"
    settings: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    source: str | None = None
    parent_id: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    text_known: bool = True


@dataclass(frozen=True)
class Clip:
    """A row of the library. ``path`` is relative to the data folder (``Library.file`` makes it absolute)."""

    id: int
    path: str
    sha256: str
    duration_s: float
    sample_rate: int
    text_original: str
    text_normalized: str
    text_known: bool
    language: str
    engine: str
    model: str
    voice: str
    speaker: str
    licence: str
    settings: dict[str, Any]
    request_id: str | None
    source: str | None
    parent_id: int | None
    start_s: float | None
    end_s: float | None
    created_at: str
    state: str


def real_speaker(clip: Clip) -> str:
    """Return the speaker of a real recording; if unknown, the recording itself, for all its segments."""
    return clip.speaker or (clip.source or clip.sha256).split("@")[0]


def is_for_test(clip: Clip) -> bool:
    """Return whether a person recorded the clip for tests; it is then never trained on (see ``corpora.enrolment``)."""
    return clip.settings.get("role") == "test"


@dataclass(frozen=True)
class ClipQuery:
    """Conditions on clips, all of which must hold; None matches any clip.

    Attributes:
        imported: True for clips of corpora (they have a source), False for generated and mined ones.
        slices: True for mined clips, False for all others; a clip that a person trimmed (``settings["trimmed"]``)
            replaces its original and is not mined.
        text_known: True for clips whose words are known; False for imported audio without a transcript, in which any
            phrase may occur.
        aligned_by: the name of an aligner that has aligned the clips.
        state: "ready" or "rejected".
    """

    language: str | None = None
    imported: bool | None = None
    slices: bool | None = None
    text_known: bool | None = None
    aligned_by: str | None = None
    state: str | None = "ready"


ORIGINS = ("generated", "imported", "recorded", "cut")


@dataclass(frozen=True)
class LibrarySearch:
    """A user's search in the library; "" matches any clip. All conditions must hold.

    Attributes:
        phrase: words that occur in the transcript, as in ``Library.search``.
        voice: a part of the voice's or the speaker's name, in any case.
        origin: one of :data:`ORIGINS`: synthesized, imported, recorded with Hark, or mined.
        state: "ready" or "rejected".
    """

    phrase: str = ""
    engine: str = ""
    voice: str = ""
    language: str = ""
    origin: str = ""
    state: str = ""


@dataclass(frozen=True)
class AlignedUnit:
    """A word or phone of a clip: ``level`` is "word" or "phone", times in seconds, ``confidence`` 0 to 1."""

    level: str
    label: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class LibraryStats:
    """Counts of the library; in ``hours`` a shared file counts once for each clip that uses it."""

    clips: int
    hours: float
    files: int
    texts: int
    unknown_text: int
    rejected: int
    slices: int
    by_engine: dict[str, int]
    by_language: dict[str, int]
    by_licence: dict[str, int]
    hours_by_engine: dict[str, float]


@dataclass(frozen=True)
class Problem:
    """A problem that ``check_library`` found: its kind, the clip or file, and whether it was repaired."""

    kind: str
    what: str
    repaired: bool


@dataclass(frozen=True)
class CheckReport:
    clips: int
    files: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return all(problem.repaired for problem in self.problems)

    @property
    def counts(self) -> dict[str, int]:
        kinds = [problem.kind for problem in self.problems]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


@dataclass(frozen=True)
class ExportReport:
    """The result of ``export_clips``: ``manifest`` is NeMo's JSON lines, with paths relative to its folder."""

    manifest: Path
    clips: int
    hours: float
