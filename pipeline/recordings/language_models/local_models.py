"""Models on this machine: their folders, and how they are loaded and downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data_folder import installation_folder
from core.errors import HarkError
from core.events import Reporter
from core.hub import hub_download
from core.readiness import Readiness
from core.worded import worded


def hub_folder() -> Path:
    """Return the cache of Hugging Face: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, or the default in the home folder."""
    # Does not import the library, which takes half a second, because a page waits for this.
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


@dataclass(frozen=True)
class LocalModel:
    """A model of transformers on this machine. It is downloaded only on the owner's request."""

    name: str  # its name in ``pipeline.engine_setup.pull_model``
    repository: str  # its name on Hugging Face
    place: str  # its folder below the installation's data folder
    without: str  # what Hark does without it

    @property
    def own_folder(self) -> Path:
        return installation_folder() / self.place

    def folder(self) -> Path | None:
        """Return Hark's own folder, otherwise the one in the cache of Hugging Face; None if neither is complete."""
        if complete(self.own_folder):
            return self.own_folder
        cached = hub_folder() / f"models--{self.repository.replace('/', '--')}"
        try:
            folder = cached / "snapshots" / (cached / "refs" / "main").read_text().strip()
        except OSError:
            return None
        return folder if complete(folder) else None

    def readiness(self) -> Readiness:
        """Check whether it can be used here, without loading it."""
        if self.folder() is not None:
            return Readiness(True)
        why = worded("%(without)s: %(repository)s is not installed.", without=self.without, repository=self.repository)
        return Readiness(False, why, f"./hark engines pull {self.name}")


def complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(
        path.is_file() for path in (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    )


def load(folder: str, kind: str, what: str, what_to_do: str) -> tuple[Any, Any]:
    """Load (tokenizer, model) with transformers' class ``kind``. Raises HarkError with ``what`` and ``what_to_do``."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = getattr(transformers, kind).from_pretrained(folder, local_files_only=True).eval()
    except Exception as error:  # the libraries raise all kinds of errors
        raise HarkError(what, f"{Path(folder).name}: {str(error).splitlines()[0][:200]}", what_to_do) from error
    return tokenizer, model


def pull(
    repository: str, folder: Path, needed: Sequence[str], reporter: Reporter, patterns: Sequence[str] = ("*",)
) -> Path:
    """Download a model; return its folder. Raises HarkError if it fails, or a ``needed`` file is missing."""
    hub_download(repository, patterns, folder, reporter)
    lacking = [name for name in needed if not (folder / name).is_file()]
    if lacking:
        raise HarkError(
            worded("The model %(repository)s is incomplete.", repository=repository),
            worded("%(folder)s lacks %(needed)s.", folder=str(folder), needed=lacking[0]),
            worded("Download it again."),
        )
    return folder
