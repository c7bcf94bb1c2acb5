"""Live transcription with detectors, and answers to spoken questions."""

from __future__ import annotations

import io
import re
import struct
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from django.utils import timezone
from django.utils.translation import gettext as _

from core.audio_file import SAMPLE_RATE
from core.data_folder import storing
from core.errors import HarkError
from pipeline.recordings.transcription.engine import described
from pipeline.recordings.transcription.registry import choose
from pipeline.recordings.transcription.streaming import Result, StreamingTranscriber
from pipeline.recordings.transcription.transcribe import recognize
from webui.accounts.models import User
from webui.jobs.quota import check_minutes, check_room
from webui.listening.services import runtime_of, scores_of
from webui.recordings.models import Recording
from webui.recordings.reading import asking
from webui.recordings.transcribing import intake
from webui.recordings.uploading import chunks
from webui.trainer.models import Detector, Version
from webui.translation import explained

MAX_DETECTORS = 8  # maximum detectors at a time
MIN_QUESTION_WORDS = 3  # minimum words of a question
_WAV_HEADER = struct.Struct("<4sI8sIHHIIHH4sI")
_SENTENCE = re.compile(r"[^.!?…]+[.!?…]*")
_ASKS = re.compile(
    r"(who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|should|would|will|has|have|"
    r"wer|wen|wem|wessen|was|wann|wo|woher|wohin|welche\w*|warum|wieso|weshalb|wie|wieviele?)\b",
    re.IGNORECASE,
)


def questions_in(text: str) -> list[str]:
    """Return the sentences that end with a question mark or begin with an interrogative or auxiliary verb."""
    questions = []
    for sentence in _SENTENCE.findall(text):
        plain = sentence.strip()
        if len(plain.split()) >= MIN_QUESTION_WORDS and (plain.endswith("?") or _ASKS.match(plain)):
            questions.append(plain)
    return questions


def detectors_of(user: User) -> list[tuple[Detector, Version]]:
    """Return the detectors that the user may see, each with its version in use."""
    detectors = Detector.objects.visible_to(user).prefetch_related("versions__detector__user")
    return [(detector, version) for detector in detectors if (version := detector.current) is not None]


def chosen_versions(user: User, ids: object) -> list[Version]:
    """Return the versions in use of the visible detectors with these ids. Other ids are ignored."""
    if not isinstance(ids, list):
        return []
    wanted = {number for number in ids if isinstance(number, int)}
    return [version for detector, version in detectors_of(user) if detector.pk in wanted][:MAX_DETECTORS]


def too_many(limit: int) -> HarkError:
    return HarkError(
        _("You are already transcribing live."),
        _("A user can have %(most)d live sessions at a time.") % {"most": limit},
        _("End one of them on the other page or machine, then start again."),
    )


def already_started() -> HarkError:
    return HarkError(
        _("The options were not changed."),
        _("The transcription has already started."),
        _("Send them before the samples."),
    )


def invalid_option(name: str) -> HarkError:
    return HarkError(
        _("The transcription was not started."),
        _("The option %(name)s does not exist, or its value has another type.") % {"name": name[:40]},
        _("Use the options and types in the API documentation."),
    )


def not_run(detectors: list[object]) -> HarkError:
    return HarkError(
        _("Some detectors do not run: %(ids)s.") % {"ids": str(detectors)[1:-1][:200]},
        _("They do not exist or have no version, or there are more than %(most)d.") % {"most": MAX_DETECTORS},
        _("Choose other detectors in a new session."),
    )


class Session:
    """A live transcription. It does not touch the database, so ``feed`` and ``finish`` may run in any thread.

    Args:
      engine: the recognizer, or "auto".
      language: a code; None if the engine decides.
      versions: versions of the detectors to run.
      keep: a file for the audio, from which a recording can be created.
      data: the user's data folder; see ``pipeline.recordings.transcription.registry.choose``.

    Raises HarkError if no engine is ready, or a detector's bundle is unreadable.
    """

    def __init__(
        self, engine: str, language: str | None, versions: list[Version], keep: Path | None, data: Path
    ) -> None:
        chosen, self.why = choose(engine, language, data)
        self.engine = described(chosen)
        self.detectors = [(version.detector.phrase, runtime_of(version)) for version in versions]
        self.transcriber = StreamingTranscriber(lambda audio: recognize(chosen, audio, language))
        self.samples = 0
        self.path = keep
        self.file: io.FileIO | None = None
        if keep is not None:
            with storing("saving the live recording"):
                self.file = keep.open("wb", buffering=0)  # a buffer might be lost at the end if the disk is full
                self.file.seek(_WAV_HEADER.size)

    def write(self, content: bytes) -> None:
        """Store 16-bit samples on arrival. Raises HarkError if the disk is full; earlier samples remain."""
        if self.file is not None:
            left = content
            with storing("saving the live recording"):
                while left:  # write() may store only a part when the disk fills up
                    left = left[self.file.write(left) :]
        self.samples += len(content) // 2

    def feed(self, content: bytes) -> list[dict[str, Any]]:
        """Process 16-bit samples; return new ``{"event"}``, ``{"partial"}``, ``{"final"}``, ``{"error"}``."""
        audio = np.frombuffer(content, "<i2").astype(np.float32) / 32768.0
        news: list[dict[str, Any]] = []
        for phrase, runtime in list(self.detectors):
            try:
                hits = runtime.detections(scores_of(runtime, audio))
            except HarkError as error:  # drop this detector, which would fail again; the rest continues
                self.detectors.remove((phrase, runtime))
                news.append({"error": explained(error)})
                continue
            for hit in hits:
                event = {"phrase": phrase, "time_s": hit.time_s, "score": round(hit.score, 4)}
                news.append({"event": event})
        return news + [_message_of(result) for result in self.transcriber.feed(audio)]

    def finish(self) -> list[dict[str, Any]]:
        return [_message_of(result) for result in self.transcriber.finish()]

    def close(self) -> None:
        """Complete the file: a WAV file of the samples that were stored. Raises HarkError if that fails."""
        if self.file is not None:
            size = 2 * self.samples
            header = _WAV_HEADER.pack(
                b"RIFF", _WAV_HEADER.size - 8 + size, b"WAVEfmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16,
                b"data", size,
            )  # fmt: skip
            with storing("saving the live recording"):
                self.file.truncate(_WAV_HEADER.size + size)
                self.file.seek(0)
                self.file.write(header)
                self.file.close()
            self.file = None


def _message_of(result: Result) -> dict[str, Any]:
    if isinstance(result, HarkError):
        return {"error": explained(result)}
    utterance = {"text": result.text, "start_s": result.start_s, "end_s": result.end_s}
    if result.final:
        return {"final": {**utterance, "segments": [asdict(segment) for segment in result.segments]}}
    return {"partial": utterance}


def new_file(user: User) -> Path:
    """Return a path for a session's audio until it is a recording.

    Raises HarkError if the user's quota is used up or the disk is full.
    """
    check_room(user)
    check_minutes(user)
    with storing("saving the live recording"):
        return chunks.folder_of(user) / f"live-{uuid.uuid4().hex}.wav"


def save(*, user: User, path: Path, engine: str, language: str | None) -> Recording:
    """Create a recording of the live audio. If it raises HarkError, the file still exists."""
    name = _("Live, %(time)s") % {"time": f"{timezone.localtime():%Y-%m-%d %H.%M}"}
    return intake.create_recording(
        user=user, name=f"{name}.wav", source=path, options={"engine": engine, "language": language}, even_if_full=True
    )


def answer(*, user: User, question: str) -> dict[str, Any] | None:
    """Answer a spoken question from the user's own transcripts; return None if they have no answer."""
    try:
        reply = asking.answer(user=user, question=question)
    except HarkError:
        return None
    return reply if reply["found"] else None
