"""PostgreSQL, MariaDB, Redis and other servers of Debian's packages, each with its own folder and port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.processes import answers, free_port

PASSWORD = "a password of the tests' own"
NEEDED = "HARK_TESTS_NEED_SERVERS"  # set if the tests of the topology were requested: nothing may be missing then
USER = "nobody"  # databases run as this user if root runs the tests: PostgreSQL does not start as root
STARTS_S = 60.0


def missing(why: str) -> NoReturn:
    """Skip the test that lacks something; fail it if the topology was requested."""
    if os.environ.get(NEEDED):
        pytest.fail(why)
    pytest.skip(why)


def program(name: str) -> str:
    """Return the path of a server. Skips or fails the test without it (:func:`missing`)."""
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    found = shutil.which(name, path=os.pathsep.join([*map(str, postgres), os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        missing(f"{name} is not installed (Debian: postgresql, mariadb-server, redis-server, nginx)")
    return found


def wait_for(condition: Callable[[], object], seconds: float = STARTS_S) -> None:
    """Wait until the condition holds. Fails after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


class Server:
    """A server on a port, with its log in a folder. A test may stop it and start it again."""

    def __init__(self, command: list[str], port: int, folder: Path, user: str | None = None) -> None:
        self._command, self._port, self._folder, self._user = command, port, folder, user
        self._ends_by = signal.SIGTERM if "mariadbd" in command[0] else signal.SIGINT  # MariaDB ignores SIGINT
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder, user=self._user)
        wait_for(lambda: self._process.poll() is not None or answers(self._port))
        assert self._process.poll() is None, (self._folder / "log").read_text()

    def stop(self) -> None:
        """Stop it immediately, breaking connections. Fails, with its log, if it had already ended."""
        assert self._process.returncode is not None or self._process.poll() is None, (self._folder / "log").read_text()
        self._process.send_signal(self._ends_by)
        try:
            self._process.wait(STARTS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(command: list[str], port: int, folder: Path, user: str | None = None) -> Iterator[Server]:
    server = Server(command, port, folder, user)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the URL of an empty database, whose user has a password and may create others."""
    with postgresql_server() as (url, _server):
        yield url


@contextmanager
def postgresql_server() -> Iterator[tuple[str, Server]]:
    initdb, postgres = program("initdb"), program("postgres")
    # Not below pytest's folders, which each start of pytest closes to others than their owner.
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with (
        tempfile.TemporaryDirectory(prefix="hark-postgresql-", dir=root) as folder,
        _postgresql(initdb, postgres, Path(folder)) as found,
    ):
        yield found


@contextmanager
def _postgresql(initdb: str, postgres: str, folder: Path) -> Iterator[tuple[str, Server]]:
    user = USER if os.getuid() == 0 else None
    data, port = folder / "data", free_port()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(folder, user)
        shutil.chown(secret, user)
    made = [initdb, "-D", str(data), "-U", "hark", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
    subprocess.run([*made, "--locale=C", "--no-sync"], check=True, capture_output=True, user=user, cwd=folder)
    settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
    command = [postgres, "-D", str(data), "-p", str(port)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with running(command, port, folder, user) as server:
        url = f"postgresql://hark:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
        import psycopg

        def ready() -> bool:
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_for(ready)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE hark")
        yield url.removesuffix("postgres") + "hark", server


@contextmanager
def mysql() -> Iterator[str]:
    """Yield the URL of an empty database of MariaDB, whose user has a password and owns no other."""
    with mysql_server() as (url, _server):
        yield url


@contextmanager
def mysql_server() -> Iterator[tuple[str, Server]]:
    install, mariadbd, port = program("mariadb-install-db"), program("mariadbd"), free_port()
    user = USER if os.getuid() == 0 else None
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with tempfile.TemporaryDirectory(prefix="hark-mariadb-", dir=root) as name:
        folder, data, socket_file = Path(name), Path(name) / "data", Path(name) / "socket"
        if user:
            shutil.chown(folder, user)
        # A server that starts removes the temporary tables that it finds: in /tmp also those of other servers, which
        # then end.
        alone = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}"]
        made = [install, *alone, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(made, check=True, capture_output=True, user=user, cwd=folder)
        command = [mariadbd, *alone, f"--socket={socket_file}", f"--port={port}"]
        command += ["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"]
        with running([*command, f"--pid-file={folder / 'pid'}"], port, folder, user) as server:
            import pymysql

            with pymysql.connect(user="root", unix_socket=str(socket_file), autocommit=True) as raw:
                raw.cursor().execute("CREATE DATABASE hark CHARACTER SET latin1")  # regardless of the server's default
                raw.cursor().execute("CREATE USER hark IDENTIFIED BY %s", [PASSWORD])
                raw.cursor().execute("GRANT ALL ON hark.* TO hark")
            yield f"mysql://hark:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/hark", server


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yield the URL of an empty Redis with a password and without persistence."""
    with redis_and_its_server(folder) as (url, _server):
        yield url


@contextmanager
def redis_and_its_server(folder: Path) -> Iterator[tuple[str, Server]]:
    folder.mkdir()
    port = free_port()
    settings = folder / "redis.conf"
    settings.write_text(f'bind 127.0.0.1\nport {port}\nsave ""\ndir {folder}\nrequirepass "{PASSWORD}"\n')
    with running([program("redis-server"), str(settings)], port, folder) as server:
        yield f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0", server
