"""The clip library in an SQLite file, and on PostgreSQL: the same tests for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from db.database import DATABASE_NAME, MARKER
from db.db_api import Library

Run = Callable[..., list[Any]]


@pytest.fixture
def library(tmp_path: Path, engine: str) -> Iterator[Library]:
    """An empty clip library, in an SQLite file or on PostgreSQL."""
    with Library(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def behind(engine: str, request: pytest.FixtureRequest) -> Callable[[Path], AbstractContextManager[Run]]:
    """Another program, which runs SQL on a library's tables, in a transaction if it says BEGIN; nothing refuses a
    dangling reference."""

    @contextmanager
    def opened(folder: Path) -> Iterator[Run]:
        if engine == "sqlite":
            import sqlite3

            raw: Any = sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)
        else:
            import psycopg

            raw = psycopg.connect(request.getfixturevalue("postgresql_url"), autocommit=True)
            raw.execute("SET session_replication_role = replica")
            raw.execute(f"SET search_path TO {(folder / MARKER).read_text()}")

        def run(query: str, values: Sequence[Any] = ()) -> list[Any]:
            cursor = raw.execute(query if engine == "sqlite" else query.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

        with closing(raw):
            yield run

    return opened


@pytest.fixture
def locked(
    engine: str, behind: Callable[[Path], AbstractContextManager[Run]]
) -> Callable[[Path], AbstractContextManager[None]]:
    """Another program, which writes into a library and does not come to an end."""

    @contextmanager
    def held(folder: Path) -> Iterator[None]:
        with behind(folder) as run:
            if engine == "sqlite":
                run("BEGIN IMMEDIATE")
            else:
                from db.postgresql import KEY

                run("BEGIN")
                run("SELECT pg_advisory_xact_lock(?, hashtext(?))", (KEY, (folder / MARKER).read_text().strip()))
            yield
            run("ROLLBACK")

    return held
