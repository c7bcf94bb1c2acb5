"""Any endpoint with OpenAI's audio API: HARK_ASR_URL ("https://host/v1"), HARK_ASR_KEY, HARK_ASR_MODEL.

It is used only if the owner has set a URL. The key is sent only to that URL, and never appears in a log, message or
redirect.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.http import Server
from core.readiness import Readiness
from core.worded import worded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcription.engine import MAX_CHARACTERS_A_SECOND, RecognitionEngine
from pipeline.recordings.transcription.whisper_text import invented
from pipeline.recordings.transcripts.transcript import Segment
from pipeline.recordings.transcripts.words import segment_of, spread, words_of

TIMEOUT_S = 120.0
ATTEMPTS = 3  # attempts if the endpoint is busy or unreachable
MAX_ANSWER_BYTES = 4_000_000  # maximum bytes of an answer
DEFAULT_MODEL = "whisper-1"
WORD_CONFIDENCE = 0.9  # used if the endpoint gives none
# Whisper endpoints return the English names of languages.
_CODES = {
    "english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt",
    "dutch": "nl", "polish": "pl", "russian": "ru", "ukrainian": "uk", "turkish": "tr", "chinese": "zh",
    "japanese": "ja", "korean": "ko", "arabic": "ar", "hindi": "hi", "swedish": "sv", "danish": "da",
    "norwegian": "no", "finnish": "fi", "czech": "cs", "greek": "el", "hungarian": "hu", "romanian": "ro",
}  # fmt: skip


class OpenAiEndpoint(RecognitionEngine):
    """``POST <URL>/audio/transcriptions`` (or ``translations``) with ``verbose_json`` and word times."""

    name = "openai"
    why = worded("no Whisper model is on this machine, and an endpoint is configured")
    licence: str = worded("see the provider")
    hosted = True
    translates = True

    @property
    def model(self) -> str:
        return os.environ.get("HARK_ASR_MODEL", "").strip() or DEFAULT_MODEL

    def available(self) -> Readiness:
        address = _address()
        if not address:
            return Readiness(
                False,
                worded("No endpoint is configured."),
                worded("Set HARK_ASR_URL (and HARK_ASR_KEY, HARK_ASR_MODEL) and restart."),
            )
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return Readiness(
                False,
                worded("HARK_ASR_URL is not a valid URL."),
                worded("Set it to a URL such as https://host/v1, and restart."),
            )
        return Readiness(True)

    def versions(self) -> dict[str, str]:
        return {"openai": f"{self.model} at {urlsplit(_address()).hostname or 'no endpoint'}"}

    def load(self) -> Any:
        """Load nothing: the URL is read again for each chunk."""
        return True

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        more: dict[str, str | list[str]] = {"prompt": ", ".join(words)} if words else {}
        if not translate:
            more["timestamp_granularities[]"] = ["word", "segment"]
            if language:
                more["language"] = base_language(language)
        encoded = io.BytesIO()
        soundfile.write(encoded, audio, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        fields = {"model": self.model, "response_format": "verbose_json", "temperature": "0", **more}
        file = {"file": ("piece.wav", encoded.getvalue(), "audio/wav")}
        path = f"/audio/{'translations' if translate else 'transcriptions'}"
        answer = _server().ask("POST", path, {"Accept": "application/json"}, data=fields, files=file)
        try:
            return segments_of(answer.json(), len(audio) / SAMPLE_RATE, "en" if translate else language)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise HarkError(
                worded("The recognition endpoint gave an invalid answer."),
                worded("%(name)s in its answer: it is not a verbose_json transcript.", name=type(error).__name__),
                worded("Check that HARK_ASR_URL names an endpoint with OpenAI's audio API, or choose another engine."),
            ) from error


def segments_of(answer: Any, seconds: float, language: str | None) -> list[Segment]:
    """Parse a ``verbose_json`` answer into segments. Raises ValueError, KeyError or TypeError if it is invalid."""
    text = answer["text"]
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS_A_SECOND * (seconds + 5):
        raise ValueError("its text cannot have been spoken in that time")
    named = str(answer.get("language") or "").lower()
    detected = _CODES.get(named, named if len(named) == 2 else "")
    spoken = base_language(language) if language else detected
    words = [
        (f" {word['word'].strip()}", _time(word["start"], seconds), _time(word["end"], seconds), WORD_CONFIDENCE)
        for word in answer.get("words") or ()
    ]
    rows = answer.get("segments") or [{"start": 0.0, "end": seconds, "text": text}]
    segments = []
    for number, row in enumerate(rows):
        log_p = float(row.get("avg_logprob", math.log(WORD_CONFIDENCE)))
        start, end = _time(row["start"], seconds), _time(row["end"], seconds)
        last = number == len(rows) - 1
        own = [word for word in words if (word[1] + word[2]) / 2 < end or last]
        words = words[len(own) :]
        if invented(log_p, float(row.get("no_speech_prob", 0.0)), float(row.get("compression_ratio", 1.0))):
            continue
        confidence = round(math.exp(min(0.0, log_p)), 4)
        timed = (
            words_of([(w, a, b, confidence) for w, a, b, _ in own], spoken, seconds)
            if own
            else spread(str(row["text"]), start, end, confidence)
        )
        segment = segment_of(timed, spoken)
        if segment is not None:
            segments.append(segment)
    return segments


def _time(value: Any, seconds: float) -> float:
    time_s = float(value)
    if not math.isfinite(time_s):
        raise ValueError("a time that is not a number")
    return min(max(0.0, time_s), seconds)


def _address() -> str:
    return os.environ.get("HARK_ASR_URL", "").strip()


def _server() -> Server:
    return Server(
        _address().rstrip("/"),
        worded("The recognition endpoint"),
        worded(
            "Check HARK_ASR_URL, HARK_ASR_KEY, HARK_ASR_MODEL and the network, or choose another engine; finished "
            "transcripts are saved."
        ),
        os.environ.get("HARK_ASR_KEY", "").strip(),
        timeout_s=TIMEOUT_S,
        max_bytes=MAX_ANSWER_BYTES,
        attempts=ATTEMPTS,
    )
