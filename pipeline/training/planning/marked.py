"""Clips in the library that users marked: false alarms and misses of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from db.records import Clip
from model.runtime.detector import smooth_scores

if TYPE_CHECKING:
    from model.detector import Detector

CORPUS = "inbox"  # prefix of the source of marked clips
FALSE_ALARM_OF = "false_alarm_of"  # setting of a clip: the phrase for which a detector mistook it
PADDING_S = (1.5, 0.5)  # seconds of near-silence before and after a marked clip


@dataclass(frozen=True)
class Marked:
    """The errors of a detector that users marked, as audio [samples]: false alarms, and misses of the phrase."""

    false_alarms: Sequence[np.ndarray] = ()
    misses: Sequence[np.ndarray] = ()


def marked_false_alarms(library: Library, phrase: str, language: str) -> list[Clip]:
    """Return the library's clips that users marked as false alarms of the phrase's detector, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if (clip.state, clip.language) == ("ready", language)]
    return [clip for clip in reversed(clips) if clip.settings.get(FALSE_ALARM_OF) == phrase]


def marked_misses(library: Library, phrase: str, language: str) -> list[Clip]:
    """Return the library's clips that users marked as missed utterances of the phrase, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if clip.state == "ready" and "role" in clip.settings]
    return [clip for clip in reversed(clips) if (clip.text_normalized, clip.language) == (phrase, language)]


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
