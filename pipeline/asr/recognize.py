"""Recognition of words and their times by Hark's own recognizer; too inaccurate for transcripts of meetings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.audio_file import SAMPLE_RATE
from core.confinement.foreign_audio import read_foreign_audio
from db.records import AlignedUnit
from model.asr.decoding import greedy
from model.asr.emissions import Aligner
from model.asr.recognition import WordDecoder
from model.phones import phones_of, text_of
from pipeline.corpora.alignment import NotAligned, align


@dataclass(frozen=True)
class Recognized:
    """The recognized content of a recording.

    Attributes:
        letters: the text spelled character by character, without a vocabulary.
        words: from the vocabulary, with times and confidence; () if nothing was recognized.
    """

    file: str
    seconds: float
    text: str
    letters: str
    phones: tuple[str, ...]
    words: tuple[AlignedUnit, ...]
    confidence: float


def recognize(file: Path | str, aligner: Aligner, decoder: WordDecoder, language: str = "en") -> Recognized:
    """Recognize a recording of any length; ``aligner`` computes the phones. Raises HarkError if it is unreadable."""
    audio = read_foreign_audio(file)
    heads = next(aligner.both([audio]))
    text = " ".join(decoder.words(heads["phones"]))
    words: Sequence[AlignedUnit] = ()
    confidence = 0.0
    if text:
        try:
            aligned = align(heads["phones"], text, aligner, language)
            words, confidence = aligned.words, aligned.confidence
        except NotAligned:
            text = ""  # without speech, the decoder guesses words
    return Recognized(
        str(file), round(len(audio) / SAMPLE_RATE, 3), text, text_of(greedy(heads["characters"])),
        phones_of(greedy(heads["phones"])), tuple(words), confidence,
    )  # fmt: skip
