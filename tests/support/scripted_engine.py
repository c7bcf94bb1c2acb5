"""A scripted recognizer that records its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.readiness import Readiness
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcripts.transcript import Segment, Word


def said(text: str, start_s: float, end_s: float, language: str = "en", confidence: float = 0.9) -> Segment:
    """Make a segment whose words share its time evenly."""
    words = text.split()
    step = (end_s - start_s) / len(words)
    timed = tuple(
        Word(word, round(start_s + n * step, 3), round(start_s + (n + 1) * step, 3), confidence)
        for n, word in enumerate(words)
    )
    return Segment(start_s, end_s, text, confidence, timed, language)


class Scripted:
    """Writes ``piece 1``, ``piece 2`` ... unless ``write`` says otherwise; fails at the piece ``fails_at``."""

    why = "the test has it"
    licence = "CC0-1.0"
    hosted = False
    expects = True
    translates = False

    def __init__(self, name: str = "scripted", model: str = "a", languages: tuple[str, ...] | None = None) -> None:
        self.name, self.model = name, model
        self._languages = languages
        self.expected: list[Sequence[str]] = []  # words per piece
        self.heard: list[tuple[float, float, str | None]] = []  # seconds, loudness, language
        self.fails_at = 0
        self.ready = Readiness(True)
        self.write: Callable[[np.ndarray], list[Segment]] = self._numbered

    def _numbered(self, audio: np.ndarray) -> list[Segment]:
        return [said(f"piece {len(self.heard)}", 0.2, len(audio) / SAMPLE_RATE - 0.2)]

    def available(self) -> Readiness:
        return self.ready

    def languages(self) -> tuple[str, ...] | None:
        return self._languages

    def check(self) -> None:
        if not self.ready.ok:
            raise HarkError("It cannot be used here.", self.ready.why, self.ready.how_to_enable)

    def versions(self) -> dict[str, str]:
        return {self.name: "1"}

    def recognize(
        self, audio: np.ndarray, language: str | None, translate: bool = False, words: Sequence[str] = ()
    ) -> list[Segment]:
        self.expected.append(words)
        self.heard.append((len(audio) / SAMPLE_RATE, float(np.abs(audio).max()), language))
        if self.fails_at and len(self.heard) == self.fails_at:
            raise HarkError("It failed.", "The test wanted it.", "Again.")
        return self.write(audio)

    def close(self) -> None:
        self.heard = []


def use_engines(monkeypatch: pytest.MonkeyPatch, *engines: Scripted) -> None:
    """Make them the only recognizers, in this process."""
    monkeypatch.setattr(registry, "_engines", lambda: {engine.name: engine for engine in engines})
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
