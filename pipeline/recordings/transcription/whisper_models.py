"""Whisper models on this machine, and their download. This module does not load models; only ``pull`` uses the network.

CTranslate2's format is a folder (``model.bin``, ``config.json``, ``tokenizer.json``), openai-whisper's a file
(``.pt``). HARK_WHISPER_MODEL names a size ("small") or a path; by default, the best local model is used.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.data_folder import installation_folder
from core.errors import no_such
from core.events import Reporter
from core.worded import worded
from pipeline.recordings.language_models import local_models
from pipeline.recordings.language_models.local_models import hub_folder
from pipeline.recordings.transcription.engine import RecognitionEngine

# From the least to the most accurate; the multilingual model of a size ranks higher.
SIZES = (
    "tiny.en", "tiny", "base.en", "base", "small.en", "distil-small.en", "small", "medium.en", "distil-medium.en",
    "medium", "large-v1", "large-v2", "distil-large-v2", "distil-large-v3", "distil-large-v3.5", "turbo",
    "large-v3-turbo", "large-v3", "large",
)  # fmt: skip
CONVERTED = ("model.bin", "config.json", "tokenizer.json")  # files that CTranslate2's format requires
# Models in that format that are not among Systran's.
_REPOSITORIES = {
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "large": "Systran/faster-whisper-large-v3",
}
_CACHED = re.compile(r"^models--[^-]+(?:-[^-]+)*--faster-(distil-)?whisper-(.+)$")


def own_folder() -> Path:
    """Return the folder of Hark's Whisper models, each a folder (CTranslate2) or a ``.pt`` file (openai-whisper)."""
    return installation_folder() / "models" / "whisper"


def converted() -> dict[str, Path]:
    """Return models in CTranslate2's format by size: from Hark's own folder, then the Hugging Face cache."""
    models: dict[str, Path] = {}
    for snapshot in sorted(hub_folder().glob("models--*/snapshots/*")):
        name = _CACHED.match(snapshot.parent.parent.name)
        if name and is_converted(snapshot):
            models[(name[1] or "") + name[2]] = snapshot
    models |= {folder.name: folder for folder in sorted(own_folder().glob("*")) if is_converted(folder)}
    return models


def checkpoints() -> dict[str, Path]:
    """Return models in openai-whisper's format by size: from Hark's own folder, then openai-whisper's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    return {path.stem: path for folder in (cache, own_folder()) for path in sorted(folder.glob("*.pt"))}


def is_converted(folder: Path) -> bool:
    """Return whether a folder has a complete CTranslate2 Whisper with its tokenizer."""
    return all((folder / name).is_file() for name in CONVERTED)


def best(names: dict[str, Path]) -> str:
    """Return the most accurate of the models; "" if there is none."""
    return max(names, key=lambda name: SIZES.index(name) if name in SIZES else -1, default="")


class WhisperEngine(RecognitionEngine):
    """``model`` is a size or a path; by default from HARK_WHISPER_MODEL, otherwise the best local one."""

    def __init__(self, model: str = "") -> None:
        super().__init__()
        self._given = model

    def found(self) -> dict[str, Path]:
        raise NotImplementedError

    def is_model(self, path: Path) -> bool:
        raise NotImplementedError

    @property
    def model(self) -> str:
        wished = self._given or os.environ.get("HARK_WHISPER_MODEL", "").strip()
        return best(self.found()) if wished in ("", "auto") else wished

    def file(self) -> Path | None:
        """Return the model's file or folder; None if it is not on this machine."""
        model = self.model
        if "/" not in model and not model.endswith(".pt"):
            return self.found().get(model) if model else None
        path = Path(model).expanduser().resolve()
        return path if self.is_model(path) else None

    def languages(self) -> tuple[str, ...] | None:
        path = Path(self.model)
        return ("en",) if path.stem.endswith(".en") or path.name.endswith(".en") else None


def pull(size: str, reporter: Reporter) -> Path:
    """Download a model in CTranslate2's format; return its folder. Raises HarkError if that fails."""
    if size not in SIZES:
        raise no_such(worded("Whisper model"), size, SIZES)
    target = own_folder() / size
    if is_converted(target):
        reporter.log(f"The model {size} is already there: {target}")
        return target
    kind = "faster-distil-whisper" if size.startswith("distil-") else "faster-whisper"
    repository = _REPOSITORIES.get(size) or f"Systran/{kind}-{size.removeprefix('distil-')}"
    return local_models.pull(
        repository, target, CONVERTED, reporter, (*CONVERTED, "preprocessor_config.json", "vocabulary.*")
    )
