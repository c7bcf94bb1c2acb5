"""The clip library in an SQLite file, with its full-text index (FTS5)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.data_folder import storage_error
from core.errors import HarkError
from core.worded import worded
from db import database
from db.database import FULL_TEXT_DIFFERS, SCHEMA_VERSION, Check, in_use, newer, schema
from db.full_text import TOKENIZER

# "IF NOT EXISTS" throughout: another process may have created it first.
_TABLES = (
    schema(id="INTEGER PRIMARY KEY", text="TEXT", by_text="(language, text_normalized)", clustered="WITHOUT ROWID")
    + f"""
CREATE VIRTUAL TABLE IF NOT EXISTS clip_fts USING fts5 (
    text_normalized, content = 'clip', content_rowid = 'id', tokenize = "{TOKENIZER}"
);
CREATE TRIGGER IF NOT EXISTS clip_fts_insert AFTER INSERT ON clip BEGIN
    INSERT INTO clip_fts (rowid, text_normalized) VALUES (new.id, new.text_normalized);
END;
CREATE TRIGGER IF NOT EXISTS clip_fts_delete AFTER DELETE ON clip BEGIN
    INSERT INTO clip_fts (clip_fts, rowid, text_normalized) VALUES ('delete', old.id, old.text_normalized);
END;
CREATE TRIGGER IF NOT EXISTS clip_fts_update AFTER UPDATE OF text_normalized ON clip BEGIN
    INSERT INTO clip_fts (clip_fts, rowid, text_normalized) VALUES ('delete', old.id, old.text_normalized);
    INSERT INTO clip_fts (rowid, text_normalized) VALUES (new.id, new.text_normalized);
END;
"""
)


class SqliteConnection:
    """A thread's connection; a list among the values is for ``SqliteDatabase.among``."""

    def __init__(self, file: Path) -> None:
        self._raw = sqlite3.connect(str(file), timeout=database.BUSY_TIMEOUT_S, isolation_level=None)

    def execute(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._raw.execute(query, [json.dumps(one) if isinstance(one, list) else one for one in values])

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        self._raw.executemany(query, rows)

    def executescript(self, script: str) -> None:
        self._raw.executescript(script)

    def insert(self, clip: Mapping[str, Any]) -> int:
        query = f"INSERT INTO clip ({', '.join(clip)}) VALUES ({', '.join('?' * len(clip))})"
        return int(self._raw.execute(query, list(clip.values())).lastrowid or 0)

    def index(self, texts: Mapping[int, str]) -> None:
        """Do nothing: triggers have added the clips' texts, {clip id: text}, to the full-text index."""

    def number(self) -> None:
        """Do nothing: SQLite numbers new clips from the highest number up."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._raw.close()


class SqliteDatabase:
    errors = sqlite3.Error
    refused = sqlite3.IntegrityError
    among = "IN (SELECT value FROM json_each(?))"
    trimmed = "json_extract(settings, '$.trimmed')"
    unindexed = "+"

    def __init__(self, file: Path) -> None:
        self.file = file
        self.checks = (
            Check("database", _damage, _build_indices),
            Check("full-text index", _full_text_differs, _build_full_text_index),
        )

    def connect(self) -> SqliteConnection:
        connection = SqliteConnection(self.file)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            version, tables = connection.execute(
                "SELECT (SELECT user_version FROM pragma_user_version), (SELECT COUNT(*) FROM sqlite_master)"
            ).fetchone()
            if version > SCHEMA_VERSION:
                raise newer(str(self.file), version)
            if version == 0 and tables:
                raise HarkError(
                    worded("This is not one of Hark's clip libraries."),
                    worded("%(file)s is an SQLite database with other tables.", file=str(self.file)),
                    worded("Move that file away, or point HARK_DATA (or --data) at another folder."),
                )
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def contains(self, column: str) -> str:
        return f"instr(lower({column}), lower(?)) > 0"

    def phrase(self, phrase: str) -> tuple[str, list[Any]]:
        """Return the condition on ``clip_fts`` for a phrase, and its values. FTS5 takes quoted text literally."""
        return "clip_fts MATCH ?", ['"' + phrase.replace('"', '""') + '"']

    def explained(self, error: Exception, doing: str) -> Exception:
        """Return the HarkError for a driver's error, or the error itself if it is a bug in Hark."""
        code = _primary_code(error)
        full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._free_bytes() < 1 << 16)
        if full:
            return storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file)), doing)
        if code == sqlite3.SQLITE_READONLY or (
            code == sqlite3.SQLITE_CANTOPEN and not os.access(self.file.parent, os.W_OK)
        ):
            return storage_error(OSError(errno.EACCES, "The clip library is read-only", str(self.file)), doing)
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return storage_error(OSError(errno.EIO, str(error), str(self.file)), doing)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return HarkError(
                worded("The clip library is damaged: %(doing)s stopped.", doing=doing),
                f"{self.file}: {error}.",
                worded(
                    "Restore a copy of the data folder, or move that file away, and Hark starts a new library; "
                    "./hark library import restores corpora."
                ),
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return in_use(str(self.file), doing)
        return error

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self.file.parent).free
        except OSError:
            return 1 << 62


def _use_write_ahead_log(connection: SqliteConnection) -> None:
    """Switch to write-ahead logging (WAL), and retry while the database is locked.

    SQLite itself does not wait here if several processes open a new database at the same time.
    """
    deadline = time.monotonic() + database.BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _damage(connection: SqliteConnection) -> list[str]:
    lines = [line for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall()]
    return [] if lines == ["ok"] else lines


def _build_indices(connection: SqliteConnection) -> None:
    connection.execute("REINDEX")


def _full_text_differs(connection: SqliteConnection) -> list[str]:
    try:
        with connection.transaction():
            connection.execute("INSERT INTO clip_fts (clip_fts, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if _primary_code(error) == sqlite3.SQLITE_CORRUPT:
            return [FULL_TEXT_DIFFERS]
        raise
    return []


def _build_full_text_index(connection: SqliteConnection) -> None:
    connection.execute("INSERT INTO clip_fts (clip_fts) VALUES ('rebuild')")
