"""Conversion of libraries on a server into SQLite files and back, so that a backup does not depend on the server.

Rows are copied in batches of clips, within one transaction on each side, then read back and compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import HarkError
from core.events import Reporter
from core.settings.database_url import as_servers_take_it, first_line
from db.choice import is_on_server, on_server
from db.database import DATABASE_NAME, MARKER
from db.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from db.choice import Connection, Database
    from db.postgresql import PostgresqlDatabase

CLIPS = 200  # clips per batch; one clip of a long recording may have thousands of phones
ORDER = {  # order of each table's rows; the clip's id comes first
    "clip": "id",
    "emission": "clip_id, aligner",
    "alignment": "clip_id, aligner, level, position",
}


class Libraries:
    """The clip libraries of a data folder and its users that are on a server, for ``pipeline.backup``."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def names(self, data: Path) -> list[str]:
        """Return the SQLite files that a data folder would have without a server, as paths below it."""
        markers = (data / MARKER, *sorted(data.glob(f"users/*/{MARKER}")))
        files = [marker.with_name(DATABASE_NAME) for marker in markers if marker.is_file()]
        return [file.relative_to(data).as_posix() for file in files if not file.exists()]

    def is_used(self) -> bool:
        """Return False: a restore of libraries never replaces accounts."""
        return False

    def save(self, name: str, copy: Path) -> None:
        """Write a consistent snapshot of a library to a new SQLite file.

        Raises FileNotFoundError if the library is missing.
        """
        folder = (self._data / name).parent
        if not is_on_server(folder):  # its user was deleted; connecting would create the library again
            raise FileNotFoundError(folder)
        source = on_server(folder)
        saying = _explaining(source, "The clip library cannot be copied.")
        with saying, closing(source.connect()) as connection, connection.snapshot():
            _fill(SqliteDatabase(copy), connection)

    @contextmanager
    def replaced_by(self, staged: Path, reporter: Reporter) -> Iterator[None]:
        """Load a backup's libraries into new ones (dropped if the block raises); delete the backup's SQLite files."""
        files = [staged / DATABASE_NAME, *sorted(staged.glob(f"users/*/{DATABASE_NAME}"))]
        # By name, because the folder may be moved before a library is dropped.
        libraries: dict[str, PostgresqlDatabase] = {}
        try:
            for file in files:
                if not file.is_file():
                    continue
                reporter.stage("library", "Filling the clip library")
                library = on_server(file.parent)
                saying = _explaining(library, "The clip library cannot be filled: the backup was not restored.")
                with saying, closing(SqliteDatabase(file).connect()) as source, source.transaction():
                    libraries[library.create()] = library
                    _fill(library, source)
                for path in file.parent.glob(f"{file.name}*"):
                    path.unlink()
            yield
        except BaseException:
            for called, library in libraries.items():
                with suppress(HarkError):
                    library.drop(called)
            raise

    def forget(self, data: Path, names: Iterable[str]) -> None:
        """Delete the rows of the libraries that were saved as these files."""
        for name in names:
            if is_on_server((data / name).parent):  # the portal's database is skipped
                with suppress(HarkError):  # unused rows do no harm
                    on_server((data / name).parent).remove()


@contextmanager
def _explaining(database: Database, what: str) -> Iterator[None]:
    try:
        yield
    except (database.errors, SqliteDatabase.errors) as error:
        explained = database.explained(error, "copying the clip library")
        if isinstance(explained, HarkError):
            raise explained from error
        raise HarkError(
            what, f"{first_line(error)}.", "Run ./hark library check --repair where it came from, then try again."
        ) from error


def _fill(database: Database, source: Connection) -> None:
    """Copy all rows into an empty library, and compare them."""
    with closing(database.connect()) as target, target.transaction():
        given = hashlib.sha256()
        for table, columns, rows in _rows(source):
            given.update(repr((table, columns, rows)).encode())
            marks = ", ".join("?" * len(columns))
            target.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
            if table == "clip":
                number, text = columns.index("id"), columns.index("text_normalized")
                target.index({row[number]: row[text] for row in rows})
        target.number()
        arrived = hashlib.sha256()
        for table, columns, rows in _rows(target):
            arrived.update(repr((table, columns, rows)).encode())
        if given.digest() != arrived.digest():
            raise HarkError(
                "The copy of the clip library differs from the original.",
                "Some of its rows are missing or different.",
                "Nothing was changed. Check the disk, then run the same command again.",
            )


def _rows(connection: Connection) -> Iterator[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """Yield each table, its columns, and its rows in order, a batch of clips at a time."""
    last = 0
    query = "SELECT id FROM clip WHERE id > ? ORDER BY id LIMIT ?"
    while ids := [clip_id for (clip_id,) in connection.execute(query, (last, CLIPS)).fetchall()]:
        for table, order in ORDER.items():
            number = order.partition(",")[0]
            cursor = connection.execute(
                f"SELECT * FROM {table} WHERE {number} > ? AND {number} <= ? ORDER BY {order}", (last, ids[-1])
            )
            columns = [column[0] for column in cursor.description or ()]
            rows = list(cursor.fetchall())
            if table == "clip":
                settings = columns.index("settings")
                rows = [(*row[:settings], as_servers_take_it(row[settings]), *row[settings + 1 :]) for row in rows]
            yield table, columns, rows
        last = ids[-1]
