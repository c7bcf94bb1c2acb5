"""Hark's recognizer: phones by CTC, words from a vocabulary and trigrams, word times by alignment; always ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.readiness import Readiness
from core.worded import worded
from phrase_augmentation.normalize import normalize
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.recordings.transcripts.transcript import Segment, Word
from pipeline.recordings.transcripts.words import segment_of

SHIPPED = "ctc"  # the model's name, unless it is a path
OWN_FOLDER = Path("asr") / "own"  # below a user's data; holds weights adapted to their recordings
OWN_WEIGHTS = "own-*.safetensors"
SAID_BEFORE = 20  # weight of an expected word, in occurrences in earlier transcripts


def own_model(data: Path) -> str:
    """Return the path of a user's weights (stored only if better than the shipped ones), or the shipped name."""
    weights = own_weights(data)
    return SHIPPED if weights is None else str(weights)


def own_weights(data: Path) -> Path | None:
    """Return the file of a user's latest weights; None if there are none."""
    return max((data / OWN_FOLDER).glob(OWN_WEIGHTS), key=lambda path: path.stat().st_mtime_ns, default=None)


class HarkCtc(RecognitionEngine):
    """English only, in lower case without punctuation. ``model`` is :data:`SHIPPED`, or the path of other weights."""

    name = "hark"
    why = worded("neither a Whisper model nor Moonshine is on this machine")
    licence = "Apache-2.0"
    model = SHIPPED

    def __init__(self, model: str = SHIPPED) -> None:
        super().__init__()
        self.model = model

    def available(self) -> Readiness:
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        return ("en",)

    def versions(self) -> dict[str, str]:
        weights = "shipped" if self.model == SHIPPED else Path(self.model).stem
        return {"hark-recognizer": weights, "torch": version("torch")}

    def load(self) -> Any:
        """Load the acoustic model and the vocabulary, without a library's transcripts, because all users share it."""
        from model.asr.emissions import Aligner
        from model.asr.network import Recognizer
        from model.asr.recognition import decoder_for
        from model.weights import load_weights

        recognizer = None if self.model == SHIPPED else load_weights(Path(self.model), Recognizer)[0]
        return Aligner(recognizer), decoder_for("en")

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        from pipeline.corpora.alignment import NotAligned, align

        aligner, decoder = model
        if words:
            decoder = _decoder_expecting(tuple(words))
        emission = aligner.log_probabilities(audio)
        text = " ".join(decoder.words(emission))
        if not text:
            return []
        try:
            aligned = align(emission, text, aligner, "en")
        except NotAligned:
            return []  # there was no speech, so the words were guessed
        end = len(audio) / SAMPLE_RATE
        placed = tuple(
            Word(unit.label, unit.start_s, min(unit.end_s, end), unit.confidence)
            for unit in aligned.words
            if unit.end_s > unit.start_s
        )
        segment = segment_of(placed, "en")
        return [] if segment is None else [replace(segment, confidence=aligned.confidence)]


@lru_cache(maxsize=1)
def _decoder_expecting(words: tuple[str, ...]) -> Any:
    """Return the English decoder with these words in its vocabulary. This takes several seconds."""
    from model.asr.recognition import decoder_for

    normalized = [normalize(word, "en") for word in words]
    return decoder_for("en", [word for word in normalized if word] * SAID_BEFORE)
