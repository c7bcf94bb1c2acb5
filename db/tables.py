"""The tables of a clip library: a connection for each thread, transactions, and errors that a user can act on."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data_folder import storing
from db.choice import database_of

if TYPE_CHECKING:
    from db.choice import Connection

REPAIRING = "repairing the clip library"  # an activity named in messages


class Tables:
    """The tables of the library in ``data_dir``, which is created if missing. Every method may raise HarkError."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(data_dir)
        self.database = database_of(self.data_dir)
        self._local = threading.local()
        with storing("opening the clip library"):
            self.data_dir.mkdir(parents=True, exist_ok=True)
        self.rows("SELECT 1", doing="opening the clip library")

    def close(self) -> None:
        """Close this thread's connection. The next use opens a new one."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()

    def rows(self, query: str, values: Sequence[Any] = (), doing: str = "reading the clip library") -> list[Any]:
        with self.reading(doing) as connection:
            return connection.execute(query, values).fetchall()

    def column(self, query: str, values: Sequence[Any]) -> set[Any]:
        return {value for (value,) in self.rows(query, values)}

    @contextmanager
    def reading(self, doing: str) -> Iterator[Connection]:
        try:
            yield self._connection()
        except self.database.errors as error:
            raise self.database.explained(error, doing) from error

    @contextmanager
    def writing(self, doing: str) -> Iterator[Connection]:
        """Yield this thread's connection within a transaction that holds the library's write lock."""
        with self.reading(doing) as connection:
            try:
                with connection.transaction():
                    yield connection
            except self.database.refused as error:
                # A bug in Hark, not an error of the user: the schema rejects an id or a value.
                raise ValueError(f"{doing}: {error}") from error

    def remove_file_without_row(self, path: Path, query: str) -> None:
        """Remove a file unless ``query`` finds a row that names it, while the write lock is held."""
        with self.writing(REPAIRING) as connection:
            if connection.execute(query, (path.relative_to(self.data_dir).as_posix(),)).fetchone() is None:
                unlink(path)

    def _connection(self) -> Connection:
        """Return this thread's connection; a forked child opens its own."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            connection = self.database.connect()
            self._local.connection = connection
            self._local.pid = os.getpid()
        return connection


def unlink(path: Path) -> None:
    with storing(REPAIRING):
        path.unlink(missing_ok=True)


def plain(text: str) -> str:
    """Return text as the library stores it: without NUL, and with lone surrogates (undecodable file names) escaped."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


def plain_or_none(text: str | None) -> str | None:
    return None if text is None else plain(text)


def plain_list(texts: Collection[str]) -> list[str]:
    return [plain(text) for text in texts]
