"""Mozilla Common Voice: ``validated.tsv`` (or the splits') with client_id, path and sentence, audio in ``clips/``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpus_layouts.utterance import Utterance

# Sentences that listeners have confirmed. The splits are parts of the validated ones.
VALIDATED = "validated.tsv"
SPLITS = ("train.tsv", "dev.tsv", "test.tsv")


def recognizes(folder: Path) -> bool:
    """There is a table of confirmed sentences with the columns path and sentence."""
    return any(True for _ in _tables(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Utterances in order of the table; speakers are "cv-<first 16 signs of client_id>"."""
    for table in _tables(folder):
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                name = (row.get("path") or "").strip()
                if not name:
                    continue
                clips = table.parent / "clips"
                # Early releases name the clips without their suffix.
                audio = (clips if clips.is_dir() else table.parent) / (name if Path(name).suffix else f"{name}.mp3")
                client = (row.get("client_id") or "").strip()
                text = (row.get("sentence") or "").strip()
                locale = (row.get("locale") or "").strip().lower()
                yield Utterance(
                    audio,
                    text or None,
                    speaker=f"cv-{client[:16]}" if client else "",
                    language=locale.split("-")[0] or None,
                )


def _tables(folder: Path) -> list[Path]:
    for names in ((VALIDATED,), SPLITS):
        tables = [path for name in names for path in (*folder.glob(name), *sorted(folder.glob(f"*/{name}")))]
        tables = [path for path in tables if {"path", "sentence"} <= _columns(path)]
        if tables:
            return tables
    return []


def _columns(table: Path) -> set[str]:
    with table.open(encoding="utf-8-sig", errors="replace") as lines:
        return set(lines.readline().rstrip("\r\n").split("\t"))
