"""The package moonshine-voice, needed or replaced."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from model.large.encoder_backbone import PACKAGE, encoder_path

needs_encoder = pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")


def replace_package(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Let the package consist of a folder's files; None: it is not installed."""
    module = None
    if folder is not None:
        module = ModuleType(PACKAGE)
        module.__spec__ = ModuleSpec(PACKAGE, None, is_package=True)
        module.__spec__.submodule_search_locations = [str(folder)]
    monkeypatch.setitem(sys.modules, PACKAGE, module)  # type: ignore[arg-type]
