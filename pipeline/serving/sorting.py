"""Sorting of activations and near misses, before a person listens, into phrase, other and unsure.

Two models that are independent of the detector judge them: the phones of Hark's own recognizer, and the words of the
best recognizer on this machine. Recognizers seldom spell invented names correctly, so missing words are not evidence,
but the phrase among the words confirms it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from model.languages import is_known
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_sounds_in
from pipeline.recordings.transcription import registry
from pipeline.speech_service.client import call

PHRASE, OTHER, UNSURE = "phrase", "other", "unsure"
# Scores of ``keyword_scoring.phone_score``. Of 63 utterances of eight phrases (speech/custom-keywords, which are in the
# recognizer's training data), 56 were sorted as the phrase and 7 as unsure. All 260 of other phrases were rejected.
SURE, NOT_AT_ALL = 0.95, 0.1
CONFIRMED = 0.5  # a score that suffices if the words contain the phrase too
PADDING_S = 0.3  # seconds of silence around the audio for recognizers
MAX_TEXT_LENGTH = 200  # maximum characters of the words
TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sorted:
    """The class of a clip (:data:`PHRASE`, :data:`OTHER`, :data:`UNSURE`), and its recognized words."""

    kind: str
    text: str


def sort_wake(phrase: str, language: str, audio: np.ndarray) -> Sorted:
    """Sort audio [samples, 16 kHz] in the speech service. It is unsure if no recognizer can process it."""
    try:
        return call(TIMEOUT_S, sorted_here, phrase, language, audio)
    except HarkError as error:
        log.warning("what a device sent is not sorted: %s", error)
        return Sorted(UNSURE, "")


def sorted_here(phrase: str, language: str, audio: np.ndarray) -> Sorted:
    """Sort audio as :func:`sort_wake` does, within the speech service."""
    from pipeline.scoring.keyword_scoring import phone_score  # imports torch

    padded = np.pad(audio, round(PADDING_S * SAMPLE_RATE))
    text = _words(padded, language)
    contains_phrase = bool(text) and phrase_sounds_in(phrase, text, language)
    # The recognizer has only English phones.
    score = phone_score(padded, Keyphrase.of(phrase, language)) if is_known(language) else None
    return Sorted(sorted_by(score, contains_phrase), text)


def sorted_by(score: float | None, contains_phrase: bool) -> str:
    """Classify by a phone score from 0 to 1 (None if there is none) and by whether the words contain the phrase."""
    if score is None:
        return PHRASE if contains_phrase else UNSURE
    if score >= (CONFIRMED if contains_phrase else SURE):
        return PHRASE
    return OTHER if score < NOT_AT_ALL and not contains_phrase else UNSURE


def _words(audio: np.ndarray, language: str) -> str:
    """Return the words from this machine's best recognizer; "" if it has none for the language."""
    try:
        engine, _why = registry.choose(registry.AUTO, language)
        if engine.hosted:  # audio from devices is never sent to other servers
            return ""
        segments = engine.recognize(audio, language)
    except HarkError:
        return ""
    return " ".join(segment.text.strip() for segment in segments)[:MAX_TEXT_LENGTH]
