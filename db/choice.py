"""Where a library's rows are: in the SQLite file of its folder, or on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.earlier_settings import taken
from core.postgresql import DATABASE, need
from db.database import DATABASE_NAME, MARKER, Database
from db.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from db.postgresql import PostgresqlDatabase


def database_of(folder: Path) -> Database:
    """The file, where there is one; else PostgreSQL, where the library was made there or DATABASE_URL names a
    database."""
    file = folder / DATABASE_NAME
    served = not file.is_file() and ((folder / MARKER).is_file() or taken(DATABASE))
    return on_postgresql(folder) if served else SqliteDatabase(file)


def on_postgresql(folder: Path) -> PostgresqlDatabase:
    """The library of a folder on PostgreSQL. Raises HarkError where the driver is not installed."""
    need("psycopg", "psycopg[binary]", DATABASE)
    from db.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(folder)
