"""Mandarin by FunASR (MIT; Paraformer's weights have a licence of their own), in a process of its own.

Its packages are many, hence the environment of its own (``./hark engines enable funasr``). The model must be on this
machine: HARK_FUNASR_MODEL names a folder, else ``models/funasr/`` of the installation, where ``./hark engines pull
funasr`` puts it, and ModelScope's cache are looked through. Punctuation is added where its model lies there too; that
takes FunASR's own voice activity detector beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from core import environments
from core.data_folder import installation_folder
from core.readiness import Readiness
from core.worded import worded
from pipeline.recordings.transcription.worker_engine import WorkerEngine

PARAFORMER, VAD, PUNCTUATION = "paraformer-zh", "fsmn-vad", "ct-punc"  # as their repositories are called
REPOSITORIES = tuple(f"funasr/{name}" for name in (PARAFORMER, VAD, PUNCTUATION))


def own_folder() -> Path:
    return installation_folder() / "models" / "funasr"


class FunAsr(WorkerEngine):
    """Paraformer: characters with times; it gives no confidences, so each is the same."""

    name = "funasr"
    expects = False
    why = worded("it was made for this language")
    licence = "MIT (program); FunASR Model License (weights)"
    module = "funasr_worker"
    packages = ("funasr", "torch")

    @property
    def model(self) -> str:
        folder = self._folder()
        return folder.name if folder else "paraformer-zh"

    def available(self) -> Readiness:
        there = self.packages_there()
        if not there.ok:
            return there
        if self._folder() is None:
            return Readiness(
                False,
                worded("There is no Paraformer model on this machine."),
                worded("./hark engines pull funasr, or name the folder of one in HARK_FUNASR_MODEL."),
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        return ("zh", "cmn")

    def worker_environment(self) -> Mapping[str, str]:
        beside = {"HARK_FUNASR_VAD": VAD, "HARK_FUNASR_PUNCTUATION": PUNCTUATION}
        there = {name: own_folder() / folder for name, folder in beside.items()}
        usable = all(_is_model(folder) for folder in there.values())
        found = {name: str(folder) for name, folder in there.items()} if usable else {}
        return {"HARK_FUNASR_FOLDER": str(self._folder() or ""), **found}

    def lacking(self) -> list[str]:
        """See ``WorkerEngine.lacking``: only an environment of its own counts, whose packages were imported."""
        return [] if environments.is_enabled(self.name) else list(self.packages)

    def _folder(self) -> Path | None:
        named = os.environ.get("HARK_FUNASR_MODEL", "").strip()
        if named:
            folder = Path(named).expanduser().resolve()
            return folder if _is_model(folder) else None
        cache = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")
        places = [
            own_folder() / PARAFORMER,
            *(f for f in sorted(own_folder().glob("*")) if f.name not in (VAD, PUNCTUATION)),
            *sorted(cache.glob("**/iic/speech*paraformer*")),
        ]
        return next((folder for folder in places if _is_model(folder)), None)


def _is_model(folder: Path) -> bool:
    return (folder / "model.pt").is_file() and (folder / "config.yaml").is_file()
