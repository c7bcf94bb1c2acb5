"""Choice of the database of a library: the SQLite file in its folder, or the PostgreSQL server of DATABASE_URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.settings.database_url import DATABASE, need, server_of
from core.settings.rules import setting
from db.database import DATABASE_NAME, MARKER
from db.sqlite import SqliteConnection, SqliteDatabase

if TYPE_CHECKING:
    from db.postgresql import PostgresqlConnection, PostgresqlDatabase

    Connection = SqliteConnection | PostgresqlConnection
    Database = SqliteDatabase | PostgresqlDatabase


def database_of(folder: Path) -> Database:
    """Return the folder's library: in SQLite if its file exists, in PostgreSQL if the marker or DATABASE_URL names it.

    By default it is a new SQLite file.
    """
    file = folder / DATABASE_NAME
    if file.is_file():
        return SqliteDatabase(file)
    url = setting(DATABASE)
    served = is_on_server(folder) or (url and server_of(url) == "postgresql")
    return on_server(folder) if served else SqliteDatabase(file)


def is_on_server(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def on_server(folder: Path) -> PostgresqlDatabase:
    """Return the folder's library on PostgreSQL. Raises HarkError if the driver is not installed."""
    need("psycopg", "psycopg[binary]", DATABASE)
    from db.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(folder)
