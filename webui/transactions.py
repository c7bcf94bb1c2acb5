"""Serialized transactions of the portal, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

KEY = 0x4841524B  # "HARK", for PostgreSQL's advisory lock


@contextmanager
def serialized() -> Iterator[None]:
    """Run the block in a transaction that excludes all other serialized ones, so that what it reads stays true.

    SQLite has one writer at a time (``transaction_mode`` in the settings). Servers have many, so the transaction holds
    a lock: an advisory one on PostgreSQL, the lock of an unchanging row on MariaDB and MySQL. A nested one is a
    savepoint.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])
        elif connection.vendor == "mysql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM django_migrations ORDER BY id LIMIT 1 FOR UPDATE")
        yield


def is_locked(error: BaseException | None) -> bool:
    messages = ("is locked", "Lock wait timeout")  # of SQLite; of MariaDB and MySQL
    return isinstance(error, OperationalError) and any(words in str(error) for words in messages)
