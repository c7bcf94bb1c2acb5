"""Transactions of the portal: one at a time, whatever the database is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

KEY = 0x4841524B  # "HARK": of PostgreSQL's advisory lock


@contextmanager
def alone() -> Iterator[None]:
    """A transaction beside which no other one of these runs, so that what it has read stays true until its end.

    SQLite has one writer at a time (``transaction_mode`` in the settings). PostgreSQL has many, so there it takes a
    lock; it ends with the transaction. Within another transaction it is a savepoint.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])
        yield
