"""A server for tests of libraries: connections, and actions of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.database import MARKER
from tests.support import servers

# Databases that can contain a clip library.
ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.topology))


@dataclass(frozen=True)
class LibraryServer:
    """A database of PostgreSQL."""

    url: str

    @staticmethod
    def started() -> AbstractContextManager[tuple[str, servers.Server]]:
        """Start another server; return it and its URL."""
        return servers.postgresql_server()

    def called(self, folder: Path) -> str:
        """Return the library of a folder."""
        return (folder / MARKER).read_text().strip()

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Yield the driver's cursor. Each statement is a transaction unless it says BEGIN."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as raw:
            yield raw.cursor()

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self.connected() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def libraries(self) -> set[str]:
        return {name for (name,) in self.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'hark%%'")}

    def drop(self, library: str) -> None:
        self.run(f"DROP SCHEMA {library} CASCADE")

    def end_connections(self) -> None:
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hark'")

    def use(self, cursor: Any, library: str) -> None:
        """Let a cursor write into a library without checks of foreign keys."""
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"SET search_path TO {library}")

    def lock(self, cursor: Any, library: str) -> None:
        from db.postgresql import KEY

        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (KEY, library))
