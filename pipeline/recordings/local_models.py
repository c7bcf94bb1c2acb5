"""Models on this machine: their folders, loading them, and errors of downloads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data_folder import installation_folder, storage_error
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import worded


def hub_folder() -> Path:
    """Return the cache of Hugging Face: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, or its place in the home folder."""
    # Without the library, which takes half a second to import: a page waits for this.
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


@dataclass(frozen=True)
class LocalModel:
    """A model of transformers on this machine; it is downloaded only on the owner's request."""

    name: str  # for ``pipeline.engine_setup.pull_model``
    repository: str  # its name on Hugging Face
    place: str  # its folder below the installation's data folder
    without: str  # what Hark does otherwise

    @property
    def own_folder(self) -> Path:
        return installation_folder() / self.place

    def folder(self) -> Path | None:
        """Return Hark's own folder, or the one in the cache of Hugging Face; None if neither is complete."""
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
    """Load (tokenizer, model) by transformers' class ``kind``. Raises HarkError with ``what`` and ``what_to_do``."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = getattr(transformers, kind).from_pretrained(folder, local_files_only=True).eval()
    except Exception as error:  # the libraries below raise all kinds of errors
        raise HarkError(what, f"{Path(folder).name}: {str(error).splitlines()[0][:200]}", what_to_do) from error
    return tokenizer, model


@contextmanager
def pulling(name: str, target: Path) -> Iterator[None]:
    """Turn errors while a model is downloaded into HarkErrors: a full disk, no network, or anything else."""
    try:
        yield
    except Exception as error:  # the hub's client has its own errors, and those of its network library
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise storage_error(error, worded("downloading %(name)s", name=name)) from error
        raise HarkError(
            worded("The model %(name)s could not be downloaded.", name=name),
            f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no details'}.",
            worded(
                "Check the network, set HF_ENDPOINT to a mirror, or copy the model's files into %(target)s.",
                target=target,
            ),
        ) from error
