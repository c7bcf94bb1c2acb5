"""Comparison of a library's rows with its files, and repair."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from core.processors import usable_cores
from db import clip_files
from db.alignments import EMISSIONS_FOLDER
from db.records import CheckReport, Problem
from db.tables import REPAIRING, Tables, unlink

if TYPE_CHECKING:
    from db.db_api import Library

CHECKING = "checking the clip library"  # an activity named in messages
LEFT_OVER_AFTER_S = 600.0  # seconds; a younger file without a row may belong to a running writer


def check_library(
    library: Library, repair: bool = False, verify_audio: bool = True, left_over_after_s: float = LEFT_OVER_AFTER_S
) -> CheckReport:
    """Compare rows with files, and with ``repair`` repair what can be repaired.

    Kinds of problem (and their repair): "row without file" and "wrong audio" (the file is empty, not a clip or has
    another digest: row and file are removed; a clip with a request id is then made again), "file without row" and
    "temporary file" (removed), "emission without file" (row removed), "emission file without row" (removed),
    "dangling reference" (cleared), "full-text index" (rebuilt), "database" (SQLite's own integrity check; indices
    are rebuilt, other damage remains and requires a backup).

    Args:
        library: the library.
        repair: repair the problems found.
        verify_audio: also decode every file and compare digests.
        left_over_after_s: younger files without a row are ignored; a writer may be about to add the row. Temporary
            files are always ignored for ten minutes.
    """
    check = _Check(library.tables, repair, time.time() - left_over_after_s)
    problems = [*check.database(), *check.references()]
    files = 0
    for prefix in range(256):
        folder_problems, count = check.clip_folder(f"{prefix:02x}", verify_audio)
        problems += folder_problems
        files += count
    problems += check.emissions()
    ((clips,),) = library.tables.rows("SELECT COUNT(*) FROM clip")
    return CheckReport(int(clips), files, tuple(problems))


class _Check:
    """A check of a library.

    Args:
        tables: the library's.
        repair: repair the problems found.
        before: seconds since the epoch; younger files without a row are not judged.
    """

    def __init__(self, tables: Tables, repair: bool, before: float) -> None:
        self._tables, self._repair, self._before = tables, repair, before
        self._data_dir = tables.data_dir

    def database(self) -> Iterator[Problem]:
        for check in self._tables.database.checks:
            with self._tables.reading(CHECKING) as connection:
                lines = check.find(connection)
            left = lines
            if lines and self._repair:
                with self._tables.writing(REPAIRING) as connection:
                    check.repair(connection)
                with self._tables.reading(CHECKING) as connection:
                    left = check.find(connection)
            yield from (Problem(check.kind, line, not left) for line in lines)

    def references(self) -> list[Problem]:
        # The pragma identifies rows by rowid, which some of these tables lack, so each table is queried.
        dangling: list[str] = []
        for table in ("emission", "alignment"):
            query = f"SELECT DISTINCT clip_id FROM {table} WHERE clip_id NOT IN (SELECT id FROM clip)"
            rows = self._tables.rows(query, doing=CHECKING)
            dangling += [f"{table} of clip {clip_id}, which is not there" for (clip_id,) in rows]
        orphans = "parent_id IS NOT NULL AND parent_id NOT IN (SELECT id FROM clip)"
        rows = self._tables.rows(f"SELECT id, parent_id FROM clip WHERE {orphans}", doing=CHECKING)
        dangling += [f"clip {clip_id} was cut from clip {parent}, which is not there" for clip_id, parent in rows]
        if self._repair and dangling:
            with self._tables.writing("clearing dangling references") as connection:
                for table in ("emission", "alignment"):
                    connection.execute(f"DELETE FROM {table} WHERE clip_id NOT IN (SELECT id FROM clip)")
                connection.execute(f"UPDATE clip SET parent_id = NULL WHERE {orphans}")
        return [Problem("dangling reference", what, self._repair) for what in dangling]

    def clip_folder(self, prefix: str, verify_audio: bool) -> tuple[list[Problem], int]:
        """Compare the rows and files of one digest prefix; return the problems and the number of files."""
        folder = self._data_dir / clip_files.CLIPS_FOLDER / prefix
        # Files are listed before rows: a row added since then has its file, and a file without its row is too young.
        files = _files_below(folder)
        query = "SELECT DISTINCT sha256, path FROM clip WHERE sha256 >= ? AND sha256 < ?"
        rows = self._tables.rows(query, (prefix, prefix + "g"), CHECKING)  # 'g' sorts after every hexadecimal digit
        expected = {self._data_dir / path: digest for digest, path in rows}
        problems: list[Problem] = []
        for path, digest in expected.items():
            if path not in files and not path.is_file():
                self._remove_clips_of(path, digest, only_if_missing=True)
                problems.append(Problem("row without file", self._relative(path), self._repair))
        if verify_audio:
            existing = {path: digest for path, digest in expected.items() if path.is_file()}
            with ThreadPoolExecutor(usable_cores()) as pool:
                for (path, digest), on_disk in zip(existing.items(), pool.map(clip_files.digest_on_disk, existing)):
                    if on_disk != digest and path.is_file():
                        self._remove_clips_of(path, digest, only_if_missing=False)
                        why = "no clip can be read from it" if on_disk is None else "its audio is different"
                        problems.append(Problem("wrong audio", f"{self._relative(path)}: {why}", self._repair))
        query = "SELECT 1 FROM clip WHERE path = ?"
        return [*problems, *self._left_over(files, expected, query, "")], len(files)

    def emissions(self) -> list[Problem]:
        problems: list[Problem] = []
        files = _files_below(self._data_dir / EMISSIONS_FOLDER)
        rows = [file for (file,) in self._tables.rows("SELECT DISTINCT file FROM emission", doing=CHECKING)]
        for relative in rows:
            if self._data_dir / relative not in files:
                if self._repair:
                    with self._tables.writing(REPAIRING) as connection:
                        connection.execute("DELETE FROM emission WHERE file = ?", (relative,))
                problems.append(Problem("emission without file", relative, self._repair))
        expected = {self._data_dir / relative for relative in rows}
        query = "SELECT 1 FROM emission WHERE file = ?"
        return [*problems, *self._left_over(files, expected, query, "emission ")]

    def _left_over(
        self, files: Mapping[Path, float], expected: Collection[Path], query: str, what: str
    ) -> list[Problem]:
        """Report the files that no row names, except those too young to judge.

        Args:
            files: each with its time [seconds since the epoch].
            expected: the files that rows name.
            query: finds a row that names a file.
            what: prefix of the kind of problem.
        """
        problems: list[Problem] = []
        for path, modified in files.items():
            if path in expected:
                continue
            temporary = path.name.startswith(".")  # made by atomic_path
            # A writer survives the loss of a finished file (it checks again), but not that of its temporary one.
            if modified > min(self._before, time.time() - LEFT_OVER_AFTER_S if temporary else math.inf):
                continue
            if self._repair:
                self._tables.remove_file_without_row(path, query)
            kind = "temporary file" if temporary else f"{what}file without row"
            problems.append(Problem(kind, self._relative(path), self._repair))
        return problems

    def _remove_clips_of(self, path: Path, digest: str, only_if_missing: bool) -> None:
        """Repair: remove the rows of a digest and its file, after another check while the write lock is held."""
        if not self._repair:
            return
        with self._tables.writing(REPAIRING) as connection:
            if not (only_if_missing and path.is_file()):
                connection.execute("DELETE FROM clip WHERE sha256 = ?", (digest,))
                unlink(path)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._data_dir))


def _files_below(folder: Path) -> dict[Path, float]:
    """Return the files below a folder, in order, with their times [seconds since the epoch]."""
    return {path: _modified(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _modified(path: Path) -> float:
    """Return a file's modification time [seconds since the epoch], or the current time if it no longer exists."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
