"""NVIDIA NeMo manifests: JSON lines with audio_filepath, text, duration, and offset where it is a part of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.corpus_layouts.utterance import Utterance


def recognizes(folder: Path) -> bool:
    """There is a ``*.jsonl`` or ``*manifest*.json`` whose first line is an object with audio_filepath."""
    return bool(_manifests(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Utterances in order of the manifests; a line without text, or with an empty one, is of unknown text.

    Lines that are no such object are passed over. Paths are relative to the manifest, or absolute.
    """
    for manifest in _manifests(folder):
        with manifest.open(encoding="utf-8-sig", errors="replace") as lines:
            for line in lines:
                entry = _entry(line)
                if entry is None:
                    continue
                offset = _seconds(entry.get("offset"))
                yield Utterance(
                    manifest.parent / str(entry["audio_filepath"]),
                    _word(entry.get("text_original")) or _word(entry.get("text")) or None,
                    speaker=_word(entry.get("speaker")),
                    language=_word(entry.get("language")) or _word(entry.get("lang")) or None,
                    licence=_word(entry.get("licence")) or _word(entry.get("license")) or None,
                    offset_s=offset,
                    duration_s=_seconds(entry.get("duration")) if offset is not None else None,
                )


def _manifests(folder: Path) -> list[Path]:
    names = sorted({*folder.glob("*.jsonl"), *folder.glob("*manifest*.json")})
    return [path for path in names if path.is_file() and _entry(_first_line(path)) is not None]


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        return lines.readline()


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("audio_filepath"), str) else None


def _word(value: object) -> str:
    return "" if value is None else str(value).strip()


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
