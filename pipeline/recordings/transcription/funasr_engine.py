"""Recognition of Mandarin by FunASR (MIT; Paraformer's weights have another licence), in its own process.

Its many packages have a separate environment (``./hark engines enable funasr``). The model must be on this machine: in
``models/funasr/`` of the installation, where ``./hark engines pull funasr`` puts it, or in ModelScope's cache.
Punctuation is added if its model and FunASR's own voice activity detector are there too.
"""

from __future__ import annotations

import os
from pathlib import Path

from core import environments
from core.data_folder import installation_folder
from core.readiness import Readiness
from core.worded import worded
from pipeline.recordings.transcription.worker_engine import WorkerEngine

PARAFORMER, VAD, PUNCTUATION = "paraformer-zh", "fsmn-vad", "ct-punc"  # names of their repositories
REPOSITORIES = tuple(f"funasr/{name}" for name in (PARAFORMER, VAD, PUNCTUATION))


def own_folder() -> Path:
    return installation_folder() / "models" / "funasr"


class FunAsr(WorkerEngine):
    """Paraformer. It outputs characters with times but without confidences, so all characters have the same one."""

    name = "funasr"
    expects = False
    pulled = True
    why = worded("it was made for this language")
    licence = "MIT (program); FunASR Model License (weights)"
    module = "funasr_worker"
    packages = ("funasr", "torch")

    @property
    def model(self) -> str:
        folder = self._folder()
        return folder.name if folder else "paraformer-zh"

    def available(self) -> Readiness:
        readiness = self.packages_there()
        if not readiness.ok:
            return readiness
        if self._folder() is None:
            return Readiness(
                False,
                worded("There is no Paraformer model on this machine."),
                "./hark engines pull funasr",
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        return ("zh", "cmn")

    def worker_arguments(self) -> list[str]:
        beside = [own_folder() / name for name in (VAD, PUNCTUATION)]
        return [str(self._folder() or ""), *(map(str, beside) if all(map(_is_model, beside)) else ())]

    def lacking(self) -> list[str]:
        """Return the missing packages. Only the separate environment counts, because its imports were tested."""
        return [] if environments.is_enabled(self.name) else list(self.packages)

    def _folder(self) -> Path | None:
        cache = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")
        places = [
            own_folder() / PARAFORMER,
            *(f for f in sorted(own_folder().glob("*")) if f.name not in (VAD, PUNCTUATION)),
            *sorted(cache.glob("**/iic/speech*paraformer*")),
        ]
        return next((folder for folder in places if _is_model(folder)), None)


def _is_model(folder: Path) -> bool:
    return (folder / "model.pt").is_file() and (folder / "config.yaml").is_file()
