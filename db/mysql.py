"""The clip library on MariaDB or MySQL: tables with a name of their own, which the file ``library.mysql`` in its folder
begins. So nothing is asked of a user but to own one database.

The tables are those of ``db.sql``, with types that both servers know. In place of SQLite's write lock there is the lock
on the row of the table ``library``. InnoDB's own full-text index is not used: it leaves out short words and stop words,
and for a moment does not find rows that it is just writing. So ``clip_word`` has the digests of each clip's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache
from hashlib import blake2b
from typing import Any

import pymysql
from pymysql import err
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from core.database_url import MYSQL, MYSQL_COLLATION, MYSQL_LOCK, MYSQL_MODE, mysql_parameters
from db import database
from db.database import MYSQL_MARKER, SCHEMA_VERSION
from db.server import ServerConnection, ServerDatabase, Trouble, patiently, tables, words_of

TABLES = (
    "library",
    "clip_word",
    "clip_fts",
    "emission",
    "alignment",
    "clip",
)  # in the order in which they may be dropped
DIGEST_BYTES = 8  # of a word of any length, 16 letters
MOST_LOOKED_UP = 8  # words of a phrase; all of them are compared then
AWAY_CODES = {2003, 2006, 2013, 1053, 1927, 4031}  # nothing listens, the connection is lost, the server ends
TROUBLES = {
    **dict.fromkeys((1205, 1213), Trouble.IN_USE),
    **dict.fromkeys((1021, 1114), Trouble.FULL),
    **dict.fromkeys((1044, 1142, 1227, 1290, 1792, 1836), Trouble.REFUSED),
    **dict.fromkeys((1030, 1034, 1194, 1195, 1712), Trouble.DAMAGED),
    **dict.fromkeys(
        (*AWAY_CODES, 0, 2002, 2055, 1040, 1042, 1043, 1045, 1049, 1129, 1130, 1203, 1226, 3118), Trouble.AWAY
    ),
}
# What these servers say differently in the statements of db_api.py.
_DIALECT = {
    r"IN \(SELECT value FROM json_each\(\?\)\)": "IN ?",
    r"NOT IN \(SELECT id FROM clip\)": "NOT IN (SELECT id FROM (SELECT DISTINCT id FROM clip) AS there)",
    r"json_extract\(": "json_value(",
    r"CROSS JOIN clip ON": "JOIN clip ON",
    r"text_normalized LIKE \?": "lower(text_normalized) LIKE lower(?)",
    # Of ASCII's letters only, as on SQLite: the other bytes are Thai letters there, which are neither small nor large.
    r"lower\((.*?)\)": r"lower(CONVERT(CAST(\1 AS BINARY) USING tis620)) COLLATE tis620_bin",
    r"COUNT\(\*\) FILTER \(WHERE (.*?)\)": r"COUNT(CASE WHEN \1 THEN 1 END)",
    r"ON CONFLICT \(.*?\) DO UPDATE SET": "ON DUPLICATE KEY UPDATE",
    r"excluded\.(\w+)": r"VALUES(\1)",
    r"\+clip\.": "clip.",
    rf"\b({'|'.join(TABLES)})\b": "\0\\1",
    r"%": "%%",
    r"\?": "%s",
}
_TYPES = {
    r"--.*": "",
    r"CREATE VIRTUAL TABLE .*?;": """
        CREATE TABLE clip_fts (
            rowid INTEGER PRIMARY KEY REFERENCES clip (id) ON DELETE CASCADE,
            words TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL
        );
        CREATE TABLE clip_word (
            word CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            rowid INTEGER NOT NULL,
            PRIMARY KEY (word, rowid),
            FOREIGN KEY (rowid) REFERENCES clip_fts (rowid) ON DELETE CASCADE
        );""",
    r"CREATE TRIGGER .*?\bEND;": "",
    r"IF NOT EXISTS ": "",
    r" WHERE parent_id IS NOT NULL;": ";",
    # Of long texts an index has the beginning, so it cannot tell whether there is another.
    r"\(language, text_normalized\)": "(language, text_normalized(200))",
    # Stored: where an index has what is computed when it is read, purging may end the server (MDEV-39261).
    r"\b(request_id|source)\s+TEXT UNIQUE": r"\1 TEXT, INDEX (\1(250)), \1_digest BINARY(32) "
    r"GENERATED ALWAYS AS (UNHEX(SHA2(\1, 256))) STORED INVISIBLE UNIQUE",
    r"\b(sha256|language|engine|state|aligner|level)\s+TEXT": r"\1 VARCHAR(100)",
    r"\b(\w+)\s+INTEGER ([^,()]*)REFERENCES clip \(id\) (ON DELETE (?:CASCADE|SET NULL))": r"\1 INTEGER \2, "
    r"FOREIGN KEY (\1) REFERENCES clip (id) \3",
    r"\bid\s+INTEGER PRIMARY KEY": "id INTEGER AUTO_INCREMENT PRIMARY KEY",
    r"\bINTEGER\b": "BIGINT",
    r"\bREAL\b": "DOUBLE",
    r"\bTEXT\b": "LONGTEXT",
    r"\bWITHOUT ROWID\b": "",
    r"\n\s*\)\s*;": f") ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {MYSQL_COLLATION};",
    rf"\b({'|'.join(TABLES)}) \(": "\0\\1 (",
}
# The driver calls what the tables refuse an operational error; Django puts that right, too.
err.error_map.update(dict.fromkeys((3819, 4025), err.IntegrityError))


@cache
def _translated(query: str) -> str:
    """With a zero byte before each table, for the library's name."""
    for words, instead in _DIALECT.items():
        query = re.sub(words, instead, query)
    return query


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def _digests(words: Sequence[str]) -> list[str]:
    return [blake2b(word.encode(), digest_size=DIGEST_BYTES).hexdigest() for word in words]


def _values(values: Sequence[Any]) -> list[Any]:
    """A list without anything in it is no list of SQL."""
    return [(one or [None]) if isinstance(one, list) else one for one in values]


class MysqlConnection(ServerConnection):
    """A ``db.database.Connection``."""

    snapshot_begins = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def _opened(self) -> Connection:
        raw = self._database.connected()
        with raw.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute(
                "SET sql_mode = %s, innodb_lock_wait_timeout = %s",
                (f"{MYSQL_MODE},NO_BACKSLASH_ESCAPES", max(1, round(database.BUSY_TIMEOUT_S))),
            )
        return raw

    def _own(self, query: str) -> str:
        return _translated(query).replace("\0", f"{self._name}_")

    def _run(self, query: str, values: Sequence[Any]) -> Cursor:
        cursor: Cursor = self._raw.cursor()
        cursor.execute(self._own(query), _values(values))
        return cursor

    def _has_lost(self, error: Exception) -> bool:
        return isinstance(error, err.Error) and (_code(error) in AWAY_CODES or not self._raw.open)

    def _lock(self) -> None:
        self.execute("SELECT version FROM library FOR UPDATE")

    def stored(self, words: Sequence[str]) -> str:
        """Digests, with a space around each."""
        return " ".join(["", *_digests(words), ""])

    def _index(self, words: Mapping[int, list[str]]) -> None:
        super()._index(words)
        self.execute("DELETE FROM clip_word WHERE rowid IN (SELECT value FROM json_each(?))", [list(words)])
        self.executemany(
            "INSERT IGNORE INTO clip_word (word, rowid) VALUES (?, ?)",  # IGNORE: clips that are not there
            [(word, clip_id) for clip_id, found in words.items() for word in sorted(set(_digests(found)))],
        )

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        self._raw.cursor().executemany(self._own(query), [_values(row) for row in rows])

    def insert(self, clip: Mapping[str, Any]) -> int:
        """Add a clip; its id."""
        query = f"INSERT INTO clip ({', '.join(clip)}) VALUES ({', '.join('?' * len(clip))})"
        return int(self._run(query, list(clip.values())).lastrowid)

    def number(self) -> None:
        """Nothing is left to do."""


class MysqlDatabase(ServerDatabase):
    """A ``db.database.Database``: tables whose names begin alike."""

    errors = err.Error
    refused = err.IntegrityError
    server, marker, called = MYSQL, MYSQL_MARKER, "library"
    connection = MysqlConnection

    def phrase(self, phrase: str) -> tuple[str, list[Any]]:
        """Rows with all words are looked up; of these, the words are compared in order."""
        words = _digests(words_of([phrase])[0])
        if not words:
            return "FALSE", []
        looked_up = list(dict.fromkeys(words))[:MOST_LOOKED_UP]
        has_word = "clip_fts.rowid IN (SELECT rowid FROM clip_word WHERE word = ?) AND "
        return f"{has_word * len(looked_up)}instr(words, ?) > 0", [*looked_up, f" {' '.join(words)} "]

    def connected(self) -> Connection:
        said = mysql_parameters(self.url())
        return patiently(lambda: pymysql.connect(**said, autocommit=True), lambda error: _code(error) in AWAY_CODES)

    def _is_missing(self, error: Exception) -> bool:
        return _code(error) == 1146

    def _lock_making(self, raw: Connection) -> None:
        raw.cursor().execute(MYSQL_LOCK, ["library "])

    def _make(self, raw: Connection, name: str) -> None:
        with closing(raw.cursor()) as cursor:
            for statement in tables(_TYPES).replace("\0", f"{name}_").split(";"):
                if statement.strip():
                    cursor.execute(statement)
            cursor.execute(f"INSERT INTO {name}_library VALUES (%s)", [SCHEMA_VERSION])

    def _drop(self, raw: Connection, name: str) -> None:
        raw.cursor().execute(f"DROP TABLE IF EXISTS {', '.join(f'{name}_{table}' for table in TABLES)}")

    def _trouble(self, error: Exception) -> Trouble | None:
        return TROUBLES.get(_code(error))
