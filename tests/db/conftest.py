"""The clip library in an SQLite file, and on PostgreSQL: the same tests for both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from db.database import DATABASE_NAME
from db.db_api import Library
from tests.support.library_clips import Run
from tests.support.library_server import LibraryServer


@pytest.fixture
def library(tmp_path: Path, engine: str) -> Iterator[Library]:
    """An empty clip library, in an SQLite file or on a server."""
    with Library(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def beside(engine: str, request: pytest.FixtureRequest) -> LibraryServer | None:
    """The server with the libraries; None for SQLite."""
    return None if engine == "sqlite" else LibraryServer(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def behind(beside: LibraryServer | None) -> Callable[[Path], AbstractContextManager[Run]]:
    """Another program that runs SQL on a library, without checks of foreign keys; transactions begin with BEGIN."""

    @contextmanager
    def opened(folder: Path) -> Iterator[Run]:
        with ExitStack() as stack:
            if beside is None:
                raw = sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)
                cursor: Any = stack.enter_context(closing(raw))
            else:
                cursor = stack.enter_context(beside.connected())
                beside.use(cursor, beside.called(folder))

            def run(query: str, values: Sequence[Any] = ()) -> None:
                cursor.execute(query if beside is None else query.replace("?", "%s"), values)

            yield run

    return opened


@pytest.fixture
def locked(
    beside: LibraryServer | None,
    behind: Callable[[Path], AbstractContextManager[Run]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], AbstractContextManager[None]]:
    """Another program that locks a library; libraries opened later wait only briefly for it."""
    monkeypatch.setattr("db.database.BUSY_TIMEOUT_S", 0.1)

    @contextmanager
    def held(folder: Path) -> Iterator[None]:
        if beside is None:
            with behind(folder) as run:
                run("BEGIN IMMEDIATE")
                yield
                run("ROLLBACK")
        else:
            with beside.connected() as cursor:
                beside.lock(cursor, beside.called(folder))
                yield
                cursor.execute("ROLLBACK")

    return held
