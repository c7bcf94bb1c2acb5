"""The portal's database, which a full disk or a lock makes fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection

FULL, LOCKED = "database or disk is full", "database is locked"


@contextmanager
def database_fails(why: str, statement: str) -> Iterator[None]:
    """Let statements that begin like ``statement`` fail."""

    def execute(run: Callable[..., Any], sql: str, *given: Any) -> Any:
        if sql.startswith(statement):
            raise OperationalError(why)
        return run(sql, *given)

    with connection.execute_wrapper(execute):
        yield
