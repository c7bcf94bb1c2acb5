"""Whisper by whisper-timestamped: word times and confidences from the attention; GPL-3, so in its own process."""

from __future__ import annotations

from pathlib import Path

from core.readiness import Readiness
from core.worded import worded
from pipeline.recordings.transcription import whisper_models
from pipeline.recordings.transcription.worker_engine import WorkerEngine


class WhisperTimestamped(whisper_models.WhisperEngine, WorkerEngine):
    """Uses Whisper models in openai-whisper's format, ``.pt`` files."""

    name = "whisper-timestamped"
    why = worded("the most accurate engine that runs here")
    licence = "GPL-3.0-or-later"
    module = "whisper_timestamped_worker"
    packages = ("whisper_timestamped", "whisper", "torch")

    def found(self) -> dict[str, Path]:
        return whisper_models.checkpoints()

    def is_model(self, path: Path) -> bool:
        return path.is_file()

    def available(self) -> Readiness:
        readiness = self.packages_there()
        if not readiness.ok:
            return readiness
        if self.file() is None:
            why = worded("There is no Whisper model in openai-whisper's format.")
            if self.model:
                why = worded("There is no Whisper model in openai-whisper's format called %(name)s.", name=self.model)
            folder = str(whisper_models.own_folder())
            enable = worded("Copy a .pt file into %(folder)s, or set HARK_WHISPER_MODEL to one.", folder=folder)
            return Readiness(False, why, enable)
        return Readiness(True)

    def versions(self) -> dict[str, str]:
        return {"whisper": Path(self.model).name}

    def worker_arguments(self) -> list[str]:
        return [str(self.file() or "")]
