"""The contract that every engine of recognition keeps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.audio_file import SAMPLE_RATE, SILENCE_PEAK
from core.readiness import Readiness
from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcript import Segment

PIECE_S = 30.0  # seconds; what an engine hears at once is never longer
LONGEST_TEXT_A_SECOND = 40  # characters; nobody says more, so an engine that writes more has invented it


class RecognitionEngine(Protocol):
    """Hears one piece of speech and writes it down.

    Attributes:
        name: its name in the registry, in transcripts and on the command line.
        licence: SPDX identifier (or short name) of the program.
        hosted: sends audio to another machine; it is used only where its owner has configured that.
    """

    name: str
    licence: str
    hosted: bool

    @property
    def model(self) -> str:
        """What it would load: "small", a path, the name of a hosted model."""
        ...

    def available(self) -> Readiness:
        """Whether it can hear here. Fast (loads nothing, asks no network), never raises."""
        ...

    def languages(self) -> tuple[str, ...] | None:
        """Base languages ("en") that it knows; None: any, and it finds out by itself which one is spoken."""
        ...

    def recognize(self, audio: np.ndarray, language: str | None) -> list[Segment]:
        """What is said in one piece; one at a time, others wait.

        Args:
            audio: mono float32 [samples] at 16 kHz, at most ``PIECE_S`` seconds.
            language: what is spoken; None: the engine decides, and says so in ``Segment.language``.

        Returns:
            Segments in order, times in seconds from the start of the piece, words with times and confidences. Nothing
            where nothing is said.

        Raises:
            HarkError: the engine cannot hear here, or failed for a reason that the user can mend.
        """
        ...

    @property
    def translates(self) -> bool:
        """Whether it can write in English what is said in another language."""
        ...

    def translate(self, audio: np.ndarray, language: str | None) -> list[Segment]:
        """As ``recognize``, but in English; for an engine that ``translates``."""
        ...

    def versions(self) -> dict[str, str]:
        """Names and versions of the programs and weights, for provenance. Loads nothing."""
        ...

    def close(self) -> None:
        """Let the model go. The engine may be used again afterwards."""
        ...


class LoadingEngine:
    """Base of the engines: the model is loaded at the first piece, once, and hears one piece at a time."""

    hosted = False
    translates = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None

    def load(self) -> Any:
        """The model. Raises HarkError where it cannot be loaded."""
        raise NotImplementedError

    def hear(self, model: Any, audio: np.ndarray, language: str | None) -> list[Segment]:
        """``recognize`` with the loaded model."""
        raise NotImplementedError

    def hear_in_english(self, model: Any, audio: np.ndarray, language: str | None) -> list[Segment]:
        """``translate`` with the loaded model."""
        raise NotImplementedError

    def let_go(self, model: Any) -> None:
        """End what the model holds beside memory."""

    def recognize(self, audio: np.ndarray, language: str | None) -> list[Segment]:
        """See ``RecognitionEngine.recognize``."""
        return self._heard(audio, language, self.hear)

    def translate(self, audio: np.ndarray, language: str | None) -> list[Segment]:
        """See ``RecognitionEngine.translate``."""
        return self._heard(audio, language, self.hear_in_english)

    def _heard(
        self, audio: np.ndarray, language: str | None, hear: Callable[[Any, np.ndarray, str | None], list[Segment]]
    ) -> list[Segment]:
        audio = np.ascontiguousarray(audio[: int(PIECE_S * SAMPLE_RATE)], dtype=np.float32)
        if not len(audio) or float(np.abs(audio).max()) < SILENCE_PEAK:
            return []
        with self._lock:
            if self._loaded is None:
                self._loaded = self.load()
            return hear(self._loaded, audio, language)

    def close(self) -> None:
        """See ``RecognitionEngine.close``."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                self.let_go(loaded)


def knows(engine: RecognitionEngine, language: str | None) -> bool:
    """Whether the engine serves that language; an unknown one (None) is served by every engine."""
    known = engine.languages()
    return known is None or language is None or base_language(language) in known


def described(engine: RecognitionEngine) -> str:
    """The engine with its model, as transcripts show it: "faster-whisper small"; of a path its last part."""
    return f"{engine.name} {Path(engine.model).stem if os.sep in engine.model else engine.model}".strip()
