"""Where a library's rows are: in the SQLite file of its folder, or on the server of DATABASE_URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.database_url import DATABASE, need, server_of
from core.earlier_settings import taken
from db.database import DATABASE_NAME, MARKER, MARKERS, Database
from db.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from db.server import ServerDatabase


def database_of(folder: Path) -> Database:
    """The file, where there is one; else a server, where the library was made there or DATABASE_URL names a
    database."""
    file = folder / DATABASE_NAME
    served = not file.is_file() and (marker_in(folder) is not None or taken(DATABASE))
    return on_server(folder) if served else SqliteDatabase(file)


def marker_in(folder: Path) -> Path | None:
    """The file that names the folder's library on a server; None where none was made there."""
    return next((path for marker in MARKERS if (path := folder / marker).is_file()), None)


def on_server(folder: Path) -> ServerDatabase:
    """The library of a folder on the server where it was made, or that DATABASE_URL names. Raises HarkError where the
    driver is not installed."""
    made, url = marker_in(folder), taken(DATABASE)
    if made.name == MARKER if made else not url or server_of(url) == "postgresql":
        need("psycopg", "psycopg[binary]", DATABASE)
        from db.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(folder)
    need("pymysql", "pymysql", DATABASE)
    from db.mysql import MysqlDatabase

    return MysqlDatabase(folder)
