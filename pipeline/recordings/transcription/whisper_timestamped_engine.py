"""Whisper by whisper-timestamped: word times and confidences from the attention. GPL-3, so in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.readiness import Readiness
from pipeline.recordings.transcription import whisper_models
from pipeline.recordings.transcription.worker_engine import WorkerEngine


class WhisperTimestamped(WorkerEngine):
    """``model`` is a size or a ``.pt`` file of openai-whisper; chosen as that of ``FasterWhisper``."""

    name = "whisper-timestamped"
    licence = "GPL-3.0-or-later"
    module = "whisper_timestamped_worker"
    packages = ("whisper_timestamped", "whisper", "torch")

    def __init__(self, model: str = "") -> None:
        super().__init__()
        self._given = model

    @property
    def model(self) -> str:
        """See ``RecognitionEngine.model``."""
        wished = self._given or whisper_models.wished()
        return whisper_models.best(whisper_models.checkpoints()) if wished in ("", "auto") else wished

    def available(self) -> Readiness:
        """See ``RecognitionEngine.available``."""
        there = self.packages_there()
        if not there.ok:
            return there
        if self._file() is None:
            return Readiness(
                False,
                f"There is no Whisper model in openai-whisper's form{f' called {self.model}' if self.model else ''}.",
                f"Copy a .pt file into {whisper_models.own_folder()}, or name one in HARK_WHISPER_MODEL.",
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        """See ``RecognitionEngine.languages``."""
        return ("en",) if whisper_models.english_only(self.model) else None

    def versions(self) -> dict[str, str]:
        """See ``RecognitionEngine.versions``."""
        return {"whisper": Path(self.model).name}

    def worker_environment(self) -> Mapping[str, str]:
        """See ``WorkerEngine.worker_environment``."""
        return {"HARK_WHISPER_FILE": str(self._file() or "")}

    def _file(self) -> Path | None:
        name = self.model
        if not name:
            return None
        if "/" in name or name.endswith(".pt"):
            path = Path(name).expanduser().resolve()
            return path if path.is_file() else None
        return whisper_models.checkpoints().get(name)
