"""The errors that users marked, as audio, and whether a detector makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from model.runtime.detector import smooth_scores
from pipeline.training.planning.marked import marked_false_alarms, marked_misses

if TYPE_CHECKING:
    from model.detector import Detector

PADDING_S = (1.5, 0.5)  # seconds of near-silence before and after a marked clip


@dataclass(frozen=True)
class Marked:
    """The errors of a detector that users marked, as audio [samples]: false alarms, and misses of the phrase."""

    false_alarms: Sequence[np.ndarray] = ()
    misses: Sequence[np.ndarray] = ()


def marked_audio(library: Library, phrase: str, language: str) -> Marked:
    """Return all errors that users marked for a phrase."""
    return Marked(
        [library.read_audio(clip) for clip in marked_false_alarms(library, phrase, language)],
        [library.read_audio(clip) for clip in marked_misses(library, phrase, language)],
    )


def padded(audio: np.ndarray) -> np.ndarray:
    """Return audio [samples] with near-silence before and after it."""
    before, after = (round(seconds * SAMPLE_RATE) for seconds in PADDING_S)
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(before + len(audio) + after)
    quiet[before : before + len(audio)] += audio
    return quiet.astype(np.float32)


def fires(detector: Detector, audio: np.ndarray, threshold: float) -> bool:
    """Return whether a detector detects its phrase in audio [samples]."""
    return bool((smooth_scores(detector.stream_scores(padded(audio))) >= threshold).any())
