"""An engine without a process, a tiny effort and tone clips, for tests of a run's decisions and results."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import FailedRequest, GeneratedClip, Setting, SpeechRequest, Voice
from core.audio_file import SAMPLE_RATE, write_audio
from core.readiness import Readiness
from db.records import NewClip
from phrase_augmentation.normalize import normalize
from pipeline.training.configuration.efforts import EFFORTS, BucketSize, Effort


def tone(text: str, seconds: float = 0.8) -> np.ndarray:
    """A sound [samples] that depends on the text: a chord, with silence on either side."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * f * time) for f in rng.uniform(200, 3000, 3))
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.05)
    return np.pad(0.1 * envelope * chord, 1600).astype(np.float32)


class Choir:
    """An engine of as many speakers as requested, two voices each, that hums; a test can make it fail."""

    licence = "CC0-1.0"
    paid = False
    unsure = False
    by_default = True

    def __init__(self, name: str = "choir", speakers: int = 12, people: Iterable[str] = ()) -> None:
        self.name = name
        self.speakers = list(people) or [f"{name}-{number}" for number in range(speakers)]
        self.spoken: list[str] = []  # request ids
        self.fails: Callable[[SpeechRequest], str | BaseException | None] = lambda request: None
        self.closed = 0

    def available(self) -> Readiness:
        return Readiness(True)

    def voices(self, language: str) -> list[Voice]:
        if not language.startswith("en"):
            return []
        return [
            Voice(self.name, f"{speaker}/{part}", "en-us", speaker, self.licence, "hum")
            for speaker in self.speakers
            for part in ("alto", "bass")
        ]

    def reserved_voices(self, language: str) -> list[Voice]:
        return []

    def languages(self) -> set[str]:
        return {"en-us"}

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        return {"rate": float(rng.uniform(0.8, 1.2))}

    def synthesize(self, requests: Iterable[SpeechRequest], folder: Path) -> Iterator[GeneratedClip | FailedRequest]:
        by_name = {voice.name: voice for voice in self.voices("en")}
        for number, request in enumerate(requests):
            trouble = self.fails(request)
            if isinstance(trouble, BaseException):
                raise trouble
            if trouble:
                yield FailedRequest(request.request_id, trouble)
                continue
            self.spoken.append(request.request_id)
            voice = by_name[request.voice]
            path = folder / f"{number}.wav"
            audio = tone(f"{request.text}|{request.voice}|{number}")
            write_audio(path, audio)
            yield GeneratedClip(
                request.request_id, path, len(audio) / SAMPLE_RATE, SAMPLE_RATE, request.text, voice.model,
                voice.name, voice.speaker, dict(request.settings), voice.licence,
            )  # fmt: skip

    def close(self) -> None:
        self.closed += 1


def new_clip(
    text: str, speaker: str = "someone", engine: str = "choir", seconds: float = 0.8, **more: object
) -> NewClip:
    """Make a clip for the library."""
    audio = tone(f"{text}|{speaker}|{sorted(more.items())}", seconds)
    words = {"text_normalized": normalize(text, "en"), "language": "en", "voice": speaker, "licence": "CC0-1.0"}
    return NewClip(**{"audio": audio, "text": text, "engine": engine, "speaker": speaker, **words, **more})  # type: ignore[arg-type]


@pytest.fixture
def choirs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Choir]:
    """Three of them, and no other engine, wherever a run is planned."""
    engines = {name: Choir(name, count) for name, count in (("alpha", 12), ("beta", 9), ("gamma", 4))}
    monkeypatch.setattr("pipeline.training.planning.plan.all_engines", lambda: dict(engines))
    return engines


@pytest.fixture
def tiny_effort(monkeypatch: pytest.MonkeyPatch) -> Effort:
    """An effort called "tiny" of a few dozen clips."""
    tiny = replace(
        EFFORTS["quick"], name="tiny", positive=BucketSize(4, 6), confusable=BucketSize(12, 2),
        inbetween=BucketSize(5, 1), plain_negative=BucketSize(20, 1), corpus_hours=0.05,
        variants=2, steps=4, batch_size=8, test_clips=10, network_steps=0, growth=5,
    )  # fmt: skip
    monkeypatch.setitem(EFFORTS, "tiny", tiny)
    return tiny
