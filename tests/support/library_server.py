"""What the tests ask of a server beside its libraries: who is there, and what another program does to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from db.database import MARKER, MYSQL_MARKER
from tests.support import servers


@dataclass(frozen=True)
class LibraryServer:
    """A database of PostgreSQL."""

    url: str
    name, marker, driver = "PostgreSQL", MARKER, "psycopg"
    others = f"mysql://hark:{servers.PASSWORD}@db/hark"  # a URL of the other kind

    @staticmethod
    def started() -> AbstractContextManager[tuple[str, servers.Server]]:
        """Another one, and its URL."""
        return servers.postgresql_server()

    def called(self, folder: Path) -> str:
        """The library of a folder."""
        return (folder / self.marker).read_text().strip()

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Its driver's cursor; each statement is a transaction unless it says BEGIN."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as raw:
            yield raw.cursor()

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """What a statement gives."""
        with self.connected() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def libraries(self) -> set[str]:
        """All that there are."""
        return {name for (name,) in self.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'hark%%'")}

    def table(self, library: str, table: str) -> str:
        """A table of a library."""
        return f"{library}.{table}"

    def drop(self, library: str) -> None:
        """Take a library away."""
        self.run(f"DROP SCHEMA {library} CASCADE")

    def end_connections(self) -> None:
        """Those of Hark."""
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hark'")

    def use(self, cursor: Any, library: str) -> None:
        """Let a cursor write into a library what its tables refuse."""
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"SET search_path TO {library}")

    def statement(self, query: str, library: str) -> str:
        """One on a library's tables, as the driver takes it."""
        return query.replace("?", "%s")

    def lock(self, cursor: Any, library: str) -> None:
        """Keep other writers out."""
        from db.postgresql import KEY

        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (KEY, library))


class MysqlLibraryServer(LibraryServer):
    """A database of MariaDB."""

    name, marker, driver = "MariaDB or MySQL", MYSQL_MARKER, "pymysql"
    others = f"postgresql://hark:{servers.PASSWORD}@db/hark"

    @staticmethod
    def started() -> AbstractContextManager[tuple[str, servers.Server]]:
        return servers.mysql_server()

    @contextmanager
    def connected(self) -> Iterator[Any]:
        import pymysql

        to = urlsplit(self.url)
        said = {"host": to.hostname, "port": to.port, "user": to.username, "password": unquote(to.password or "")}
        with closing(pymysql.connect(**said, database=to.path[1:], autocommit=True)) as raw:  # type: ignore[arg-type]
            yield raw.cursor()

    def libraries(self) -> set[str]:
        return {name.removesuffix("_clip") for (name,) in self.run("SHOW TABLES") if name.endswith("_clip")}

    def table(self, library: str, table: str) -> str:
        return f"{library}_{table}"

    def drop(self, library: str) -> None:
        self.run("SET foreign_key_checks = 0")
        for table in ("alignment", "emission", "clip_word", "clip_fts", "clip", "library"):
            self.run(f"DROP TABLE {library}_{table}")

    def end_connections(self) -> None:
        with self.connected() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> connection_id()")  # of its user
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")

    def use(self, cursor: Any, library: str) -> None:
        cursor.execute("SET foreign_key_checks = 0")

    def statement(self, query: str, library: str) -> str:
        return re.sub(r"\b(clip|clip_fts|emission|alignment|library)\b", rf"{library}_\1", query).replace("?", "%s")

    def lock(self, cursor: Any, library: str) -> None:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT version FROM {library}_library FOR UPDATE")


KINDS = {"postgresql": LibraryServer, "mysql": MysqlLibraryServer}
