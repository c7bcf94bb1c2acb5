"""Corpora of a few short recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile

from core.events import silent_reporter
from db.db_api import Library
from pipeline.corpora.importing import ImportReport, import_corpus
from tests.support.sounds import noise


def put(path: Path, seed: int = 0, seconds: float = 0.5, rate: int = 16_000) -> Path:
    """Write a recording of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, seed, rate=rate), rate)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(folder: Path, library: Library, **options: Any) -> ImportReport:
    """Import a corpus."""
    return import_corpus(folder, library, "en", silent_reporter(), **options)
