"""pocketsphinx (BSD) with the US English model that its package brings: small, and usable on clear voices."""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from core.readiness import Readiness
from pipeline.recordings.transcript import Segment, Word
from pipeline.recordings.transcription.engine import LoadingEngine

FRAME_S = 0.01  # of its features
NO_WORD = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")  # silences and noises
VARIANT = re.compile(r"\(\d+\)$")  # "the(2)": another pronunciation


class PocketSphinx(LoadingEngine):
    """Words with times and posterior probabilities from its lattice."""

    name = "pocketsphinx"
    licence = "BSD-2-Clause"
    model = "en-us"

    def available(self) -> Readiness:
        """See ``RecognitionEngine.available``."""
        if find_spec("pocketsphinx") is None:
            return Readiness(
                False,
                "The package pocketsphinx is not installed.",
                "python -m pip install pocketsphinx -c constraints.txt",
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        """See ``RecognitionEngine.languages``."""
        return ("en",)

    def versions(self) -> dict[str, str]:
        """See ``RecognitionEngine.versions``."""
        return {"pocketsphinx": version("pocketsphinx")}

    def load(self) -> Any:
        """The decoder with its own acoustic model, dictionary and trigrams."""
        from pocketsphinx import Decoder

        return Decoder(loglevel="FATAL")

    def hear(self, model: Any, audio: np.ndarray, language: str | None) -> list[Segment]:
        """See ``LoadingEngine.hear``."""
        model.start_utt()
        model.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        model.end_utt()
        if model.hyp() is None:
            return []
        words = tuple(
            Word(
                VARIANT.sub("", unit.word),
                round(unit.start_frame * FRAME_S, 3),
                round((unit.end_frame + 1) * FRAME_S, 3),
                round(min(1.0, float(unit.prob)), 4),
            )
            for unit in model.seg()
            if not NO_WORD.match(unit.word)
        )
        if not words:
            return []
        confidence = round(sum(word.confidence for word in words) / len(words), 4)
        text = " ".join(word.text for word in words)
        return [Segment(words[0].start_s, words[-1].end_s, text, confidence, words, "en")]
