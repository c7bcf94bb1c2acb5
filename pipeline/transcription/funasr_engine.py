"""Mandarin by FunASR (MIT; Paraformer's weights have a licence of their own), in a process of its own.

Its packages are many, hence the environment of its own. The model must be on this machine: HARK_FUNASR_MODEL names a
folder, else ``models/funasr/`` of the installation and ModelScope's cache are looked through.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from audio_generation.engine import Readiness
from core.data_folder import installation_folder
from pipeline.transcription.worker_engine import WorkerEngine


class FunAsr(WorkerEngine):
    """Paraformer: characters with times; it gives no confidences, so each is the same."""

    name = "funasr"
    licence = "MIT (program); FunASR Model License (weights)"
    module = "funasr_worker"
    packages = ("funasr", "torch")

    @property
    def model(self) -> str:
        """See ``RecognitionEngine.model``."""
        folder = self._folder()
        return folder.name if folder else "paraformer-zh"

    def available(self) -> Readiness:
        """See ``RecognitionEngine.available``."""
        there = self.packages_there()
        if not there.ok:
            return there
        if self._folder() is None:
            return Readiness(
                False,
                "There is no Paraformer model on this machine.",
                f"Copy paraformer-zh into {installation_folder() / 'models' / 'funasr'}, or name its folder in "
                "HARK_FUNASR_MODEL.",
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        """See ``RecognitionEngine.languages``."""
        return ("zh", "cmn")

    def versions(self) -> dict[str, str]:
        """See ``RecognitionEngine.versions``."""
        return {"funasr": self.model}

    def worker_environment(self) -> Mapping[str, str]:
        """See ``WorkerEngine.worker_environment``."""
        return {"HARK_FUNASR_FOLDER": str(self._folder() or "")}

    def _folder(self) -> Path | None:
        named = os.environ.get("HARK_FUNASR_MODEL", "").strip()
        if named:
            folder = Path(named).expanduser().resolve()
            return folder if _is_model(folder) else None
        cache = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")
        places = [
            *sorted((installation_folder() / "models" / "funasr").glob("*")),
            *sorted(cache.glob("**/iic/speech*paraformer*")),
        ]
        return next((folder for folder in places if _is_model(folder)), None)


def _is_model(folder: Path) -> bool:
    return (folder / "model.pt").is_file() and (folder / "config.yaml").is_file()
