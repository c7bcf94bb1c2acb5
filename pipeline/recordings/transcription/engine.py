"""The base class of all recognition engines."""

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
from pipeline.recordings.transcripts.transcript import Segment

CHUNK_S = 30.0  # maximum seconds of audio that an engine gets at a time
MAX_CHARACTERS_A_SECOND = 40  # characters; people do not speak faster, so an engine that writes more has invented it


class RecognitionEngine:
    """Recognizes one chunk of speech at a time. Other threads wait. Its model is loaded for the first chunk."""

    name: str  # in the registry, in transcripts and on the command line
    why: str  # the reason why ``auto`` chooses it; translatable, without a full stop
    licence: str  # SPDX identifier (or short name) of the program
    hosted = False  # whether it sends audio to another machine; used only if the owner has configured that
    expects = True  # whether it accepts likely words; other engines ignore them
    pulled = False  # whether ``pipeline.engine_setup.pull_model`` can download its model
    sizes: tuple[str, ...] = ()  # sizes to choose from when it is downloaded; the first suits most users

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None

    @property
    def model(self) -> str:
        """The model to load: "small", a path, the name of a hosted model."""
        raise NotImplementedError

    @property
    def translates(self) -> bool:
        """True if the engine can translate speech into English."""
        return False

    def available(self) -> Readiness:
        """Check whether the engine can be used here, without loading or network; never raises."""
        raise NotImplementedError

    def languages(self) -> tuple[str, ...] | None:
        """Return the supported base languages ("en"); None for any, detected automatically."""
        return None

    def versions(self) -> dict[str, str]:
        """Return names and versions of the programs and weights, for provenance, without loading."""
        return {self.name: self.model}

    def load(self) -> Any:
        """Load the model of an available engine. Raises HarkError if that fails."""
        raise NotImplementedError

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        raise NotImplementedError

    def unload(self, model: Any) -> None:
        """Release what the model holds in addition to memory."""

    def check(self) -> None:
        """Raise HarkError if the engine cannot be used here."""
        self.available().require(worded("The engine %(name)s cannot be used here.", name=self.name))

    def recognize(
        self, audio: np.ndarray, language: str | None, translate: bool = False, words: Sequence[str] = ()
    ) -> list[Segment]:
        """Recognize one chunk.

        Args:
            audio: mono float32 [samples] at 16 kHz, at most ``CHUNK_S`` seconds.
            language: the spoken language; None if the engine must detect it and set ``Segment.language``.
            translate: whether to write English; only for an engine that ``translates``.
            words: likely names and other words, in their spelling; see ``expects``.

        Returns segments in order, with times in seconds from the start of the chunk, and words with times and
        confidences; [] without speech. Raises HarkError if the engine cannot be used here, or fails for a reason that
        the user can fix.
        """
        audio = np.ascontiguousarray(audio[: int(CHUNK_S * SAMPLE_RATE)], dtype=np.float32)
        if not len(audio) or float(np.abs(audio).max()) < SILENCE_PEAK:
            return []
        with self._lock:
            if self._loaded is None:
                self.check()
                self._loaded = self.load()
            return self.run(self._loaded, audio, language, translate, words)

    def close(self) -> None:
        """Release the model. The engine may be used again afterwards."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                self.unload(loaded)


def knows(engine: RecognitionEngine, language: str | None) -> bool:
    """Return whether the engine supports a language; all support an unknown one (None)."""
    known = engine.languages()
    return known is None or language is None or base_language(language) in known


def described(engine: RecognitionEngine) -> str:
    """Return the engine with its model, as in transcripts: "faster-whisper small"; only the last part of a path."""
    return f"{engine.name} {Path(engine.model).stem if os.sep in engine.model else engine.model}".strip()
