"""Models of transformers that are on this machine already; nothing is ever fetched."""

from __future__ import annotations

import os
from pathlib import Path


def cached_model(name: str) -> Path | None:
    """The folder of a model in the cache of Hugging Face, where its weights are complete."""
    # Looked up by hand: the library takes half a second to import, and a page asks for this.
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface").expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = hub / f"models--{name.replace('/', '--')}"
    try:
        found = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return found if complete(found) else None


def complete(folder: Path) -> bool:
    """Whether a folder holds a model: its configuration and weights."""
    return (folder / "config.json").is_file() and any(
        path.is_file() for path in (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    )
