"""Preparation of Django and its database for commands outside of ``manage.py``."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from core.data_folder import keep_private, storage_error, storing
from core.errors import HarkError
from core.settings.database_url import DATABASE, check_encoding, first_line, no_answer, server_name

# Ignores case, as comparisons of names must, but not trailing spaces. MariaDB and MySQL each read their own name.
MYSQL_COLLATION = "/*M! uca1400_nopad_as_ci *//*!80017 utf8mb4_0900_as_ci */"


def ready() -> None:
    """Load Django and bring its database up to date; safe to call repeatedly and from several processes.

    Raises HarkError if the data folder or the database cannot be used.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")
    import django

    django.setup()

    from django.conf import settings
    from django.db import connection

    from webui.servers import check_redis
    from webui.telemetry import tracing

    if tracing.wanted():
        tracing.provider()
    with storing("preparing the portal's database"):
        keep_private(Path(settings.DATA))
        str(settings.SECRET_KEY)  # read or create it before starting anything that needs it
    try:
        if connection.vendor == "sqlite":
            _prepare_file(Path(str(settings.DATABASES["default"]["NAME"])))
        else:
            prepare_server()
    finally:
        connection.close()
    if settings.REDIS:
        check_redis()


def _prepare_file(database: Path) -> None:
    from django.db import DatabaseError

    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))  # it holds sessions, so only its owner may read it
        with database.with_name("setup.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            migrate()
    except OSError as error:
        raise storage_error(error, "preparing the portal's database") from error
    except (DatabaseError, sqlite3.Error) as error:
        raise HarkError(
            "The portal's database cannot be used.",
            f"{error}: {database}.",
            "Check the disk and who owns the file; if it is damaged, stop Hark and restore a copy of the data folder.",
        ) from error


def prepare_server() -> None:
    """Bring the database of DATABASE_URL up to date. Raises HarkError if it cannot be used."""
    from django.db import DatabaseError, OperationalError, connection

    from webui.transactions import KEY

    server = server_name(connection.vendor)
    try:
        with connection.cursor() as cursor:
            # Another process may take a while; closing the connection releases the lock.
            if connection.vendor == "mysql":
                cursor.execute("SELECT GET_LOCK(SHA1(CONCAT('hark ', DATABASE())), 86400)")
                cursor.execute("SHOW TABLES LIKE 'django_migrations'")
                if not cursor.fetchall():  # a new database
                    cursor.execute(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {MYSQL_COLLATION}")
            else:
                cursor.execute("SHOW server_encoding")
                check_encoding(cursor.fetchone()[0])
                cursor.execute("SET lock_timeout = 0")
                cursor.execute("SELECT pg_advisory_lock(%s, 0)", [KEY])
            migrate()
    except OperationalError as error:
        raise no_answer(server, DATABASE, error) from None
    except DatabaseError as error:
        raise HarkError(
            "The portal's database cannot be used.",
            f"{server} reports: {first_line(error)}.",
            "Hark needs PostgreSQL 14, MariaDB 10.11, MySQL 8.0.23 or newer, and the user in DATABASE_URL must own the "
            "database.",
        ) from None


def migrate(database: str = "default") -> None:
    from django.core.management import call_command
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[database])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", database=database, verbosity=0, interactive=False)
