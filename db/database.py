"""Common parts of the library's databases.

What each database writes in its own way is an attribute of ``SqliteDatabase`` and of ``PostgresqlDatabase``:

- ``among``: after a column, the condition that it is in a list, which is the value of its ``?``;
- ``trimmed``: a clip's setting of that name, or NULL;
- ``unindexed``: before a column in a condition that must not choose an index;
- ``contains(column)``: the condition that it contains the value of a ``?``, ignoring the case of ASCII letters;
- ``phrase(phrase)``: the condition on ``clip_fts`` for words in order, and its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import HarkError
from core.worded import worded

SCHEMA_VERSION = 1
DATABASE_NAME = "library.sqlite3"
MARKER = "library.postgresql"  # in place of the SQLite file; holds the name of the schema on PostgreSQL
BUSY_TIMEOUT_S = 30.0  # seconds that a writer waits for another one
FULL_TEXT_DIFFERS = "the full-text index does not agree with the clips"


def schema(**names: str) -> str:
    """Return the statements that create the tables, with these expressions for the names in braces."""
    return Path(__file__).with_name("db.sql").read_text(encoding="utf-8").format(**names)


@dataclass(frozen=True)
class Check:
    """A check of a database.

    Attributes:
        kind: the kind of problem in ``check_library``.
        find: takes a connection and returns descriptions of any damage.
        repair: takes a connection and repairs the damage; it runs within a transaction.
    """

    kind: str
    find: Callable[[Any], list[str]]
    repair: Callable[[Any], None]


def newer(where: str, version: int) -> HarkError:
    return HarkError(
        worded("This clip library was written by a newer Hark."),
        worded(
            "%(where)s has schema version %(version)s; this Hark knows %(schema_version)s.",
            where=where,
            version=version,
            schema_version=SCHEMA_VERSION,
        ),
        worded("Update Hark, or point HARK_DATA (or --data) at another folder."),
    )


def in_use(where: str, doing: str) -> HarkError:
    return HarkError(
        worded("The clip library is in use: %(doing)s stopped.", doing=doing),
        worded(
            "Another process locked %(where)s for more than %(busy_timeout_s)s s.",
            where=where,
            busy_timeout_s=round(BUSY_TIMEOUT_S),
        ),
        worded("Wait for the other run or stop it, then run the same command again; finished work is saved."),
    )
