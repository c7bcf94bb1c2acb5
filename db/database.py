"""What the library asks of its database, in SQLite's SQL: ``postgresql.py`` rewrites the few words that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import HarkError
from core.worded import worded

SCHEMA = Path(__file__).with_name("db.sql")
SCHEMA_VERSION = 1
DATABASE_NAME = "library.sqlite3"
MARKER = "library.postgresql"  # instead of it, in the data folder: what the library is called on PostgreSQL
BUSY_TIMEOUT_S = 30.0  # until a writer gives up waiting for another
FULL_TEXT_DIFFERS = "the full-text index does not agree with the clips"


@dataclass(frozen=True)
class Check:
    """One thing of a database that may be damaged: what ``Library.check`` calls it, what is wrong (each in words), and
    how to put that right. Both take a connection, ``mend`` within a transaction."""

    kind: str
    find: Callable[[Any], list[str]]
    mend: Callable[[Any], None]


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
            "Another process kept %(where)s locked for more than %(busy_timeout_s)s s.",
            where=where,
            busy_timeout_s=round(BUSY_TIMEOUT_S),
        ),
        worded("Wait for the other run or end it, then run the same command again; what was finished is kept."),
    )
