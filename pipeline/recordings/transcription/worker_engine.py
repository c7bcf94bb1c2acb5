"""Base class of engines that run in their own process, because of their licence or their packages.

The worker is started once and recognizes many chunks, with the protocol of the speech engines' workers
(``core.worker_protocol``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core import environments
from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import worded
from core.worker_process import WorkerGone, WorkerProcess
from pipeline.recordings.files import worker_audio
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.recordings.transcription.whisper_text import invented
from pipeline.recordings.transcripts.transcript import Segment
from pipeline.recordings.transcripts.words import segment_of, words_of
from pipeline.speech_service.client import PATIENT_THREADS

START_TIMEOUT_S = 300.0  # seconds, for a large model on a slow disk
CHUNK_TIMEOUT_S = 600.0  # seconds, for a large model on a slow processor


class WorkerEngine(RecognitionEngine):
    """Runs a module of this package in the engine's own environment, or in Hark's if that is sufficient."""

    name: str
    module: str  # the worker's module
    packages: tuple[str, ...]  # imported by the worker

    def worker_arguments(self) -> list[str]:
        """Return the paths of the models, for the worker."""
        raise NotImplementedError

    def lacking(self) -> list[str]:
        return environments.lacking(self.name, self.packages)

    def packages_there(self) -> Readiness:
        return environments.readiness(self.name, self.lacking())

    def load(self) -> Any:
        module = f"pipeline.recordings.transcription.{self.module}"
        command = [str(environments.interpreter(self.name)), "-m", module, *self.worker_arguments()]
        try:
            return WorkerProcess(self.name, command, PATIENT_THREADS, START_TIMEOUT_S)
        except (WorkerGone, OSError) as error:
            raise self._failed(worded("The engine %(name)s could not be started.", name=self.name), error) from error

    def unload(self, model: Any) -> None:
        model.kill()

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        """Recognize one chunk; a worker that dies is restarted once for it."""
        for attempt in (1, 2):
            try:
                if self._loaded is None:
                    self._loaded = self.load()
                answer = worker_audio.ask(
                    self._loaded, audio, CHUNK_TIMEOUT_S, "transcription", language=language, words=list(words)
                )
                return segments_of(answer, len(audio) / SAMPLE_RATE)
            except (WorkerGone, ValueError, KeyError, TypeError) as error:
                self._loaded.kill()
                self._loaded = None
                if attempt == 2:
                    failed = worded("The engine %(name)s failed twice on the same part.", name=self.name)
                    raise self._failed(failed, error) from error
        raise AssertionError("unreachable")

    def _failed(self, what: str, error: Exception) -> HarkError:
        return HarkError(
            what,
            f"{str(error)[:400].rstrip('.')}.",
            worded("Choose another engine, or try again; finished parts are saved."),
        )


def segments_of(answer: Mapping[str, Any], seconds: float) -> list[Segment]:
    """Parse a worker's answer into segments. Raises KeyError, TypeError or ValueError if it is invalid."""
    language = str(answer["language"])
    segments = []
    for segment in answer["segments"]:
        usual = {"log_p": 0.0, "no_speech": 0.0, "compression": 1.0}
        if invented(*(float(segment.get(name, value)) for name, value in usual.items())):
            continue
        raw = [(str(text), float(start), float(end), float(p)) for text, start, end, p in segment["words"]]
        segments.append(segment_of(words_of(raw, language, seconds), language))
    return [segment for segment in segments if segment is not None]
