"""Copying of the portal's database on a server to an SQLite file and back, so that backups do not depend on it.

Rows are copied through the models' fields, in one transaction of each database, and then compared by number and by a
digest of their values.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import DatabaseError, DataError, connection, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor

from core.errors import HarkError
from core.events import Progress, Reporter
from core.settings.database_url import as_servers_take_it, first_line
from db.moving import Libraries
from pipeline.backup import PORTAL_DATABASE
from webui.recordings.reading.search import index_all
from webui.setup import migrate, prepare_server

SERVER, FILE = "default", "file"  # Django's database aliases
ROWS = 2000  # rows per batch
NO_IDLE_LIMIT = {  # MariaDB executes the comment
    "postgresql": "SET LOCAL idle_in_transaction_session_timeout = 0",
    "mysql": "SET @is_filled = 1 /*M! , idle_transaction_timeout = 0 */",
}
# The queue's pickled results of finished tasks. Jobs store their own results.
NOT_MOVED = {"django_q.task"}


class PortalServer(Libraries):
    """The database of DATABASE_URL, for backups: the portal's tables and the clip libraries on the same server.

    Raises HarkError if the server does not respond.
    """

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        prepare_server()
        connection.close()  # to release the lock on migrations

    def names(self, data: Path) -> list[str]:
        """Return the names of the database's SQLite files in a backup."""
        return [PORTAL_DATABASE, *super().names(data)]

    def is_used(self) -> bool:
        from webui.accounts.models import User

        return User.objects.exists()

    def save(self, name: str, copy: Path) -> None:
        """Write a consistent copy of the portal's database or a library to a new SQLite file.

        Raises FileNotFoundError if the library does not exist.
        """
        if name != PORTAL_DATABASE:
            super().save(name, copy)
            return
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with _explaining("The database cannot be copied."), _opened(copy):
            migrate(FILE)
            with transaction.atomic(using=SERVER):
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                with transaction.atomic(using=FILE):
                    _copy(SERVER, FILE)

    @contextmanager
    def replaced_by(self, staged: Path, reporter: Reporter) -> Iterator[None]:
        """Replace the database's rows with those of an unpacked backup's SQLite file, and remove the file.

        Others see the new rows after the block; if it raises, the database is unchanged.
        """
        reporter.stage("database", "Filling the database")
        file = staged / PORTAL_DATABASE
        file.parent.mkdir(parents=True, exist_ok=True)
        served = connection.vendor == "postgresql"  # MariaDB and MySQL do not have libraries
        libraries = super().replaced_by(staged, reporter) if served else nullcontext()
        filling = _explaining("The database cannot be filled: the backup was not restored.")
        with libraries, filling, _opened(file), transaction.atomic(using=SERVER):
            _refuse_newer()
            migrate(FILE)
            with connection.cursor() as cursor:
                cursor.execute(NO_IDLE_LIMIT[connection.vendor])
            _copy(FILE, SERVER, Progress(reporter, len(_tables())))
            index_all()
            connection.check_constraints()
            connections[FILE].close()
            for path in file.parent.glob(f"{file.name}*"):
                path.unlink()
            yield


@contextmanager
def _opened(file: Path) -> Iterator[None]:
    """Open an SQLite file as Django's database :data:`FILE`."""
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}
    connections.settings[FILE] = connections.configure_settings({SERVER: {}, FILE: options})[FILE]
    try:
        yield
    finally:
        connections[FILE].close()
        del connections[FILE]
        del connections.settings[FILE]


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        what_to_do = "Stop every Hark that uses the database, check its disk, then run the same command again."
        raise HarkError(what, f"{first_line(error)}.", what_to_do) from error


def _refuse_newer() -> None:
    loader = MigrationExecutor(connections[FILE]).loader
    ours = {app.label for app in apps.get_app_configs() if app.name.startswith("webui.")}
    if any(app in ours and (app, name) not in loader.disk_migrations for app, name in loader.applied_migrations):
        raise HarkError(
            "The backup was made by a newer Hark.",
            "Its database has tables or columns that this one does not know.",
            "Update Hark, then run the same command again.",
        )


def _tables() -> list[type[models.Model]]:
    all_models = apps.get_models(include_auto_created=True)
    return [model for model in all_models if model._meta.managed and not model._meta.proxy]


def _copy(source: str, target: str, progress: Progress | None = None) -> None:
    """Replace all rows of ``target`` with those of ``source``, in a transaction of each, and compare them."""
    names = [str(model._meta.db_table) for model in _tables()]
    to = connections[target]
    with to.cursor() as cursor:
        # On MariaDB and MySQL, TRUNCATE would end the transaction; their counters continue automatically.
        for statement in to.ops.sql_flush(no_style(), names, reset_sequences=to.vendor != "mysql"):
            cursor.execute(statement)
        with to.constraint_checks_disabled():
            for model in _tables():
                if model._meta.label_lower not in NOT_MOVED:
                    _copy_table(model, source, target)
                if progress is not None:
                    progress.advance()
        for statement in to.ops.sequence_reset_sql(no_style(), _tables()):
            cursor.execute(statement)


def _copy_table(model: type[models.Model], source: str, target: str) -> None:
    to, fields = connections[target], model._meta.concrete_fields
    quote = to.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    insert = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({marks})"
    given = _Digest(fields)
    with to.cursor() as cursor:
        from_source = given.of(_rows(model, source))
        while rows := list(islice(from_source, ROWS)):
            # Values as stored by fields, without those that saving a row would set (auto_now_add).
            values = [[field.get_db_prep_save(value, to) for field, value in zip(fields, row)] for row in rows]
            try:
                cursor.executemany(insert, values)
            except DataError as error:  # a text is too long, for example: SQLite has no limit
                raise HarkError(
                    "The database cannot be filled: the backup was not restored.",
                    f"A row of the table {model._meta.db_table} does not fit: {first_line(error)}.",
                    "Restore it without DATABASE_URL, correct or shorten that row, and make another backup.",
                ) from error
    arrived = _Digest(fields)
    for _row in arrived.of(_rows(model, target)):
        pass
    if (given.count, given.sum) != (arrived.count, arrived.sum):
        raise HarkError(
            "The copy of the database differs from the original.",
            f"The table {model._meta.db_table} had {given.count:,} rows and has {arrived.count:,}, or their contents "
            "differ.",
            "Nothing was changed. Check the disk, then run the same command again.",
        )


def _rows(model: type[models.Model], database: str) -> Iterable[tuple[Any, ...]]:
    names = [field.attname for field in model._meta.concrete_fields]
    return model._base_manager.using(database).order_by().values_list(*names).iterator(chunk_size=ROWS)


class _Digest:
    """The number of rows and the sum of their digests, which does not depend on their order."""

    def __init__(self, fields: Iterable[models.Field]) -> None:
        self._json = [isinstance(field, models.JSONField) for field in fields]
        self.count = self.sum = 0

    def of(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            plain = repr([_plain(value, is_json) for value, is_json in zip(row, self._json)])
            digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()
            self.count, self.sum = self.count + 1, (self.sum + int.from_bytes(digest)) % (1 << 256)
            yield row


def _plain(value: Any, is_json: bool) -> Any:
    """Convert a value to a form that does not depend on the database that returned it."""
    if is_json and value is not None:
        return as_servers_take_it(json.dumps(_numbers(value), sort_keys=True))
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return bytes(value) if isinstance(value, memoryview) else value


def _numbers(value: Any) -> Any:
    """Return JSON with all numbers as floats, because databases may return 1 as 1.0, and 1e300 as its digits."""
    if isinstance(value, dict):
        return {name: _numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return str(value)
    return value
