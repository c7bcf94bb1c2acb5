"""The contract that every speech engine keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core.readiness import Readiness
from core.worded import Worded

Setting = float | int | str
Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class Voice:
    """One voice of one engine.

    ``speaker`` names the vocal tract or person behind the voice and is the same in every engine that has that person
    (flite's and festival's ``slt`` are one woman): data are split by it. ``model`` names the weights or the program.
    """

    engine: str
    name: str
    language: str  # BCP 47-like, lower case: "en-us"
    speaker: str
    licence: str
    model: str


@dataclass(frozen=True)
class SpeechRequest:
    """One text to be spoken. ``request_id`` is unique within a call and comes back with the result."""

    request_id: str
    text: str
    voice: str
    language: str
    settings: Settings


@dataclass(frozen=True)
class GeneratedClip:
    """A checked clip: a mono file at ``path`` in the engine's own sample rate, neither silent nor noise."""

    request_id: str
    path: Path
    duration_s: float
    sample_rate: int
    text: str
    model_name: str
    voice: str
    speaker: str
    settings: Settings
    licence: str


@dataclass(frozen=True)
class FailedRequest:
    """A request that gave no usable clip; ``why`` is one sentence for the log and the report."""

    request_id: str
    why: str


class Engine(Protocol):
    """A speech engine.

    Attributes:
        name: its name in the registry, the library and the command line.
        about: one sentence to choose it by: how it sounds, its size, its speed.
        licence: SPDX identifier (or short name) of the program; each voice has its own.
        paid: costs money a character; speaks only when the user names it.
        by_default: used without being named where it is ready (false: paid, very slow or unproven).
        unsure: some of its clips cannot be understood; a run keeps those in which Hark's recognizer finds the text.
        clip_s: seconds that a clip takes, by `python -m lab engines` on two cores, rounded up.
        rule_based: formant or diphone synthesis; detectors miss such voices more often than people.
    """

    name: str
    about: Worded
    licence: str
    paid: bool
    by_default: bool
    unsure: bool
    clip_s: float
    rule_based: bool

    def available(self) -> Readiness:
        """Whether the engine can speak here. Fast (no weights are loaded), never raises."""
        ...

    def voices(self, language: str) -> list[Voice]:
        """The voices of a language ("en" takes every accent, "en-gb" that accent, "" every language); else none."""
        ...

    def kept_voices(self, language: str) -> list[Voice]:
        """Voices that ``voices`` does not list, so that no run and no training hears them: they are to measure on."""
        ...

    def languages(self) -> set[str]:
        """What its voices speak ("de", "en-gb"); empty where it is not ready. Fast, as ``available`` is."""
        ...

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """A random but natural way to speak with that voice (rate, pitch, scales, seed), for ``SpeechRequest``."""
        ...

    def synthesize(self, requests: Iterable[SpeechRequest], folder: Path) -> Iterator[GeneratedClip | FailedRequest]:
        """Speak the requests in order, one result each, files under ``folder``. A failure of one ends no other."""
        ...

    def close(self) -> None:
        """End the worker processes. The engine may be used again afterwards."""
        ...


def speaks(voice_language: str, wanted: str) -> bool:
    """True where a voice of ``voice_language`` serves the wish ``wanted``: "en-gb-scotland" serves "en" and "en-gb".

    "" wishes for nothing: every language serves it.
    """
    have, want = voice_language.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return want in ("", have) or have.startswith(want + "-")
