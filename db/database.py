"""What the library asks of its database, in SQLite's SQL: ``postgresql.py`` rewrites the few words that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import HarkError
from core.worded import worded

SCHEMA = Path(__file__).with_name("db.sql")
SCHEMA_VERSION = 1
DATABASE_NAME = "library.sqlite3"
MARKER = "library.postgresql"  # instead of it, in the data folder: what the library is called on PostgreSQL
BUSY_TIMEOUT_S = 30.0  # until a writer gives up waiting for another
FULL_TEXT_DIFFERS = "the full-text index does not agree with the clips"


class Cursor(Protocol):
    """What a statement has given."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """The columns of what it gives, their names first."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows."""


class Connection(Protocol):
    """A connection of one thread. A list among the values stands for the many of ``IN (SELECT value FROM
    json_each(?))``."""

    def execute(self, query: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""

    def insert(self, clip: Mapping[str, Any]) -> int:
        """Add a clip; its id."""

    def index(self, texts: Mapping[int, str]) -> None:
        """Put clips' normalized texts, which were just stored, into the full-text index: {clip id: text}."""

    def number(self) -> None:
        """Let new clips be numbered from the highest number on, where rows came with numbers of their own."""

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction beside which no other one of this library runs. Readers do not wait."""

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class Check:
    """One thing of a database that may be damaged: what ``Library.check`` calls it, what is wrong (each in words), and
    how to put that right. Both take a connection, ``mend`` within a transaction."""

    kind: str
    find: Callable[[Any], list[str]]
    mend: Callable[[Any], None]


class Database(Protocol):
    """Where a library's rows are."""

    @property
    def errors(self) -> type[Exception]:
        """Of its driver."""

    @property
    def refused(self) -> type[Exception]:
        """Those of them that say: the tables do not take such a row."""

    @property
    def checks(self) -> Sequence[Check]:
        """What may be damaged."""

    def connect(self) -> Connection:
        """A new connection; the first one makes the tables. Raises HarkError where this is no library that can be
        used."""

    def phrase(self, phrase: str) -> tuple[str, list[Any]]:
        """The condition, and its values, on a row of ``clip_fts``: the words of the phrase are in it, one after the
        other."""

    def explained(self, error: Exception, doing: str) -> Exception:
        """The HarkError for what the driver met; what is an error in Hark itself comes back as it is."""


def newer(where: str, version: int) -> HarkError:
    """What is said of a library that a newer Hark wrote."""
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
    """What is said where another writer does not end."""
    return HarkError(
        worded("The clip library is in use: %(doing)s stopped.", doing=doing),
        worded(
            "Another process kept %(where)s locked for more than %(busy_timeout_s)s s.",
            where=where,
            busy_timeout_s=round(BUSY_TIMEOUT_S),
        ),
        worded("Wait for the other run or end it, then run the same command again; what was finished is kept."),
    )
