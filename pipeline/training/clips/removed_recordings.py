"""Removal of what runs store about deleted recordings: texts and speakers in tables, ids in reports, features."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

from core.data_folder import atomic_path
from core.errors import HarkError
from core.lock import held
from db.db_api import Library
from db.records import RECORDING, RECORDING_CORPUS
from pipeline.training.workspace.run_folder import RunFolder

_CORPUS = re.compile(RECORDING_CORPUS.replace("_", "[0-9a-f]"))


class _GoesOn(HarkError):
    """Raised if another process holds the lock of a run."""


def forget_in_runs(data: Path, library: Library) -> None:
    """Call :func:`forget_in_run` for all runs in a data folder except those in progress, which call it at their end."""
    for run in [run for run in RunFolder.all_in(data) if run.clips.is_file()]:
        try:
            with held(run.lock, lambda holder: _GoesOn(holder, "", ""), patience_s=0):
                forget_in_run(run, library)
        except _GoesOn:
            continue


def forget_in_run(run: RunFolder, library: Library) -> None:
    """Remove a run's traces of deleted recordings. An unfinished run creates its tables again."""
    rows = _rows(run.clips)
    ids = {found for row in rows if (found := recording_of(row["corpus"]))}
    gone = {one for one in ids if not library.with_source(f"{RECORDING}-{one}")}
    if not gone:
        return
    remove_what_clips_made(run)
    if not run.result.is_file():
        return
    for row in rows:
        if recording_of(row["corpus"]) in gone:
            row |= dict.fromkeys(row.keys() & {"text", "speaker", "corpus"}, "")
    of_them = re.compile(rf"({'|'.join(sorted(gone))})[\w-]*")
    for name in ("report.json", "report.html"):
        report = run.results / name
        if report.is_file():
            with atomic_path(report) as temporary:
                temporary.write_text(of_them.sub("", report.read_text(encoding="utf-8")), encoding="utf-8")
    # The table comes last: if this is interrupted, it still lists what must be removed.
    with atomic_path(run.clips) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def remove_what_clips_made(run: RunFolder) -> None:
    """Remove a run's features and, if it is unfinished, all that it makes again from the remaining clips."""
    for folder in (run.features, run.devices):
        shutil.rmtree(folder, ignore_errors=True)
    if not run.result.is_file():
        for path in (*run.path.glob("*.pt"), run.clips):
            path.unlink(missing_ok=True)


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def recording_of(corpus: str) -> str:
    """Return the id of the portal's recording that a corpus stands for; "" for imported corpora."""
    return corpus.removeprefix(f"{RECORDING}-") if _CORPUS.fullmatch(corpus) else ""
