"""What a device took for the phrase, or nearly did, sorted before a person looks: the phrase, not the phrase, unsure.

Two that do not know of the detector hear it: the phones of Hark's own recognizer, and the words of the best recognizer
here. Made-up names are seldom written as they are spelled, so words alone refute nothing: they only make surer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from phrase_augmentation.heard import can_be_heard_in
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.recordings.speech_client import call
from pipeline.recordings.transcription import registry
from pipeline.training.config import is_known

PHRASE, OTHER, UNSURE = "phrase", "other", "unsure"
# Scores of ``keyword_scoring.phone_score``. Of 63 utterances of eight phrases (speech/custom-keywords, which the
# recognizer has heard in its training) 56 were sorted as the phrase and 7 unsure; 260 of other phrases all as other.
SURE, NOT_AT_ALL = 0.95, 0.1
CONFIRMED = 0.5  # enough where the words are the phrase's, too
PADDING_S = 0.3  # of silence around what recognizers hear
LONGEST_TEXT = 200  # characters
TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sorted:
    """What a recognizer takes a clip for (:data:`PHRASE`, :data:`OTHER`, :data:`UNSURE`), and the words it heard."""

    kind: str
    text: str


def sort_wake(phrase: str, language: str, audio: np.ndarray) -> Sorted:
    """Sort audio [samples, 16 kHz], in the speech service. Where no recognizer can hear it, it is unsure."""
    try:
        return call(TIMEOUT_S, sorted_here, phrase, language, audio)
    except HarkError as error:
        log.warning("what a device sent is not sorted: %s", error)
        return Sorted(UNSURE, "")


def sorted_here(phrase: str, language: str, audio: np.ndarray) -> Sorted:
    """:func:`sort_wake`, in the speech service."""
    from pipeline.training.keyword_scoring import phone_score  # torch comes with it

    padded = np.pad(audio, round(PADDING_S * SAMPLE_RATE))
    text = _words(padded, language)
    said = bool(text) and can_be_heard_in(phrase, text, language)
    # The recognizer knows the phones of English only.
    score = phone_score(padded, Keyphrase.of(phrase, language)) if is_known(language) else None
    return Sorted(sorted_by(score, said), text)


def sorted_by(score: float | None, said: bool) -> str:
    """What a phone score from 0 to 1 (None: there is none) and words that hold the phrase, or do not, make of it."""
    if score is None:
        return PHRASE if said else UNSURE
    if score >= (CONFIRMED if said else SURE):
        return PHRASE
    return OTHER if score < NOT_AT_ALL and not said else UNSURE


def _words(audio: np.ndarray, language: str) -> str:
    """What the best recognizer of this machine hears; "" where there is none for the language."""
    try:
        engine, _why = registry.choose(registry.AUTO, language)
        if engine.hosted:  # what devices hear is sent to nobody else
            return ""
        heard = engine.recognize(audio, language)
    except HarkError:
        return ""
    return " ".join(segment.text.strip() for segment in heard)[:LONGEST_TEXT]
