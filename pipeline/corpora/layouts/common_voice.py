"""Mozilla Common Voice: ``validated.tsv`` (or the splits') with client_id, path and sentence, audio in ``clips/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.layouts.utterance import UNREADABLE_TEXT, Utterance, is_file_of, lines_of

# Sentences that listeners confirmed. The splits are parts of the validated ones.
VALIDATED = "validated.tsv"
SPLITS = ("train.tsv", "dev.tsv", "test.tsv")


def recognizes(folder: Path) -> bool:
    """Return whether there is a table of confirmed sentences with the columns path and sentence."""
    return any(True for _ in _tables(folder))


def utterances(folder: Path) -> Iterator[Utterance]:
    """Yield utterances in the order of the table. Speakers are "cv-<first 16 characters of client_id>"."""
    for table in _tables(folder):
        lines = lines_of(table)
        columns = (next(lines, None) or "").split("\t")
        clips = table.parent / "clips"
        place = clips if clips.is_dir() else table.parent
        for line in lines:
            if line is None:
                yield Utterance(table, None, problem=UNREADABLE_TEXT)
                continue
            row = dict(zip(columns, map(str.strip, line.split("\t"))))
            name = row.get("path", "")
            if not name:
                continue
            client = row.get("client_id", "")
            yield Utterance(
                # Early releases list the clips without a suffix.
                place / (name if Path(name).suffix else f"{name}.mp3"),
                row.get("sentence") or None,
                speaker=f"cv-{client[:16]}" if client else "",
                language=row.get("locale", "").lower().split("-")[0][:16] or None,
            )


def _tables(folder: Path) -> list[Path]:
    for names in ((VALIDATED,), SPLITS):
        tables = [path for name in names for path in (*folder.glob(name), *sorted(folder.glob(f"*/{name}")))]
        tables = [path for path in tables if is_file_of(folder, path) and {"path", "sentence"} <= _columns(path)]
        if tables:
            return tables
    return []


def _columns(table: Path) -> set[str]:
    return set((next(lines_of(table), None) or "").split("\t"))
