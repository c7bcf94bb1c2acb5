"""What every engine of recognition has."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE, SILENCE_PEAK
from core.readiness import Readiness
from core.worded import worded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcript import Segment

PIECE_S = 30.0  # seconds; what an engine gets at once is never longer
LONGEST_TEXT_A_SECOND = 40  # characters; nobody says more, so an engine that writes more has invented it


class RecognitionEngine:
    """Recognizes one piece of speech at a time, others wait. Its model is loaded at the first piece."""

    name: str  # its name in the registry, in transcripts and on the command line
    why: str  # why ``auto`` takes it, where it does; worded, without its full stop
    licence: str  # SPDX identifier (or short name) of the program
    hosted = False  # sends audio to another machine; it is used only where its owner has configured that
    expects = True  # can be told words that are likely to be said; others pass over them

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None

    @property
    def model(self) -> str:
        """What it would load: "small", a path, the name of a hosted model."""
        raise NotImplementedError

    @property
    def translates(self) -> bool:
        """Whether it can write in English what is said in another language."""
        return False

    def available(self) -> Readiness:
        """Whether it can be used here. Fast (loads nothing, asks no network), never raises."""
        raise NotImplementedError

    def languages(self) -> tuple[str, ...] | None:
        """Base languages ("en") that it knows; None: any, and it finds out by itself which one is spoken."""
        return None

    def versions(self) -> dict[str, str]:
        """Names and versions of the programs and weights, for provenance. Loads nothing."""
        return {self.name: self.model}

    def load(self) -> Any:
        """The model, where the engine is available. Raises HarkError where it cannot be loaded."""
        raise NotImplementedError

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        raise NotImplementedError

    def unload(self, model: Any) -> None:
        """End what the model holds beside memory."""

    def check(self) -> None:
        """Raise HarkError where the engine cannot be used here."""
        self.available().require(worded("The engine %(name)s cannot be used here.", name=self.name))

    def recognize(
        self, audio: np.ndarray, language: str | None, translate: bool = False, words: Sequence[str] = ()
    ) -> list[Segment]:
        """What is said in one piece.

        Args:
            audio: mono float32 [samples] at 16 kHz, at most ``PIECE_S`` seconds.
            language: what is spoken; None: the engine decides, and says so in ``Segment.language``.
            translate: write it in English; for an engine that ``translates``.
            words: names and others that are likely to be said, as they are written; see ``expects``.

        Returns segments in order, times in seconds from the start of the piece, words with times and confidences;
        nothing where nothing is said. Raises HarkError: the engine cannot be used here, or failed for a reason that the
        user can mend.
        """
        audio = np.ascontiguousarray(audio[: int(PIECE_S * SAMPLE_RATE)], dtype=np.float32)
        if not len(audio) or float(np.abs(audio).max()) < SILENCE_PEAK:
            return []
        with self._lock:
            if self._loaded is None:
                self.check()
                self._loaded = self.load()
            return self.run(self._loaded, audio, language, translate, words)

    def close(self) -> None:
        """Let the model go. The engine may be used again afterwards."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                self.unload(loaded)


def knows(engine: RecognitionEngine, language: str | None) -> bool:
    """Whether the engine serves that language; an unknown one (None) is served by every engine."""
    known = engine.languages()
    return known is None or language is None or base_language(language) in known


def described(engine: RecognitionEngine) -> str:
    """The engine with its model, as transcripts show it: "faster-whisper small"; of a path its last part."""
    return f"{engine.name} {Path(engine.model).stem if os.sep in engine.model else engine.model}".strip()
