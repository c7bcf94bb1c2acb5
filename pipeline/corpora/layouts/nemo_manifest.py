"""NVIDIA NeMo manifests: JSON lines with audio_filepath, text, duration, and offset for a part of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.corpora.layouts.utterance import UNREADABLE_TEXT, Utterance, is_file_of, lines_of

MAX_WORD_LENGTH = 200  # characters of a speaker, language or licence
MAX_RECORDING_S = 1e9


def recognizes(folder: Path) -> bool:
    """Return whether a ``*.jsonl`` or ``*manifest*.json`` begins with an object that has audio_filepath."""
    return bool(_manifests(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield utterances in order. An empty text means unknown. Paths are absolute or relative to the manifest."""
    for manifest in _manifests(folder):
        yield from utterances_of(manifest)


def is_manifest(path: Path) -> bool:
    """Return whether a path is a file whose first line is an object with audio_filepath."""
    return path.is_file() and _entry(next(lines_of(path), None)) is not None


def utterances_of(manifest: Path) -> Iterator[Utterance]:
    """Yield the utterances of one manifest, as :func:`utterances` does."""
    for line in lines_of(manifest):
        entry = _entry(line)
        if entry is None:
            if line is None or line.strip():
                yield Utterance(manifest, None, problem=UNREADABLE_TEXT)
            continue
        offset, duration = _seconds(entry.get("offset")), _seconds(entry.get("duration"))
        bad = not all(math.isfinite(time) for time in (offset, duration) if time is not None)
        yield Utterance(
            manifest.parent / str(entry["audio_filepath"]),
            _word(entry.get("text_original")) or _word(entry.get("text")) or None,
            speaker=_word(entry.get("speaker"))[:MAX_WORD_LENGTH],
            language=(_word(entry.get("language")) or _word(entry.get("lang")))[:MAX_WORD_LENGTH] or None,
            licence=(_word(entry.get("licence")) or _word(entry.get("license")))[:MAX_WORD_LENGTH] or None,
            offset_s=offset,
            duration_s=duration if offset is not None else None,
            problem="a time that is none" if bad else "",
        )


def _manifests(folder: Path) -> list[Path]:
    names = sorted({*folder.glob("*.jsonl"), *folder.glob("*manifest*.json")})
    return [path for path in names if is_file_of(folder, path) and is_manifest(path)]


def _entry(line: str | None) -> dict[str, Any] | None:
    try:
        entry = json.loads(line or "")
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("audio_filepath"), str) else None


def _word(value: object) -> str:
    """Return a value as text that can be stored: JSON may contain lone surrogates."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def _seconds(value: object) -> float | None:
    """Return a number [s], infinity if no recording is that long; None if it is not a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < MAX_RECORDING_S else math.inf
