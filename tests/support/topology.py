"""Hark natively as deployed in deploy/: Nginx before two web servers, workers for each queue, PostgreSQL and Redis."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from core.data_folder import REPOSITORY
from pipeline.jobs import QUEUES, TRAINING, WEBHOOKS
from tests.support.nginx import nginx_settings
from tests.support.portal_driver import HOST, Portal
from tests.support.processes import answers, free_port
from tests.support.servers import postgresql, program, redis_server, running, wait_for

if TYPE_CHECKING:
    import httpx2

STARTS_S = 600.0  # on two busy cores
ENDS_S = 180.0  # an idle machine needs eight
TRAINING_WORKERS = 3  # `./hark worker`, each with one job at a time; the other queues have one


@dataclass
class Topology(Portal):
    """A running topology. The host in its address is that of its certificate.

    Attributes:
        port: port of Nginx on 127.0.0.1.
        database: URL of the database.
        folder: folder of Nginx, with its log and the certificate.
        training: the workers of the training queue, which a test may kill.
    """

    port: int
    database: str
    folder: Path
    training: list[subprocess.Popen[bytes]]

    def rows(self, query: str, *values: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self.database) as rows:
            return rows.execute(query.encode(), values).fetchall()

    @property
    def trust(self) -> ssl.SSLContext:
        """Return a context that accepts the certificate, whatever the host."""
        context = ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
        context.check_hostname = False
        return context

    @property
    def chromium(self) -> tuple[str, ...]:
        """Return arguments with which Chromium finds the host and accepts its certificate."""
        return f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{self.port}", "--ignore-certificate-errors"


@contextmanager
def started(log: Path, *command: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of Hark, and end it in order unless the test has killed it. Its log must have no traceback."""
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "main.py", *command],
            cwd=REPOSITORY, env={**os.environ, **settings}, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        yield process
        assert process.poll() in (None, -signal.SIGKILL), log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def nginx(folder: Path, *servers: int) -> Iterator[int]:
    """Run Nginx with the settings of deploy/; yield its port."""
    folder.mkdir()
    port, plain = free_port(), free_port()
    settings = nginx_settings(folder, " ".join(f"server 127.0.0.1:{server};" for server in servers))
    text = settings.read_text().replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{plain};")
    settings.write_text(("user root;\n" if os.getuid() == 0 else "") + text)
    with running([program("nginx"), "-c", str(settings)], port, folder):
        yield port


def asking(portal: Topology) -> httpx2.Client:
    """Return a client through Nginx, as the host of its certificate."""
    import httpx2

    base = f"https://127.0.0.1:{portal.port}"
    return httpx2.Client(base_url=base, verify=portal.trust, headers={"Host": HOST}, timeout=120)


def _links(folder: Path) -> list[str]:
    """Return the paths of the owner's links that the web servers have printed."""
    said = "".join(log.read_text() for log in folder.glob("web-*.log"))
    return re.findall(r"http://[^/\s]+(/account/setup/\S+)\s", said)


@contextmanager
def topology(folder: Path) -> Iterator[Topology]:
    """Start all of it in ``folder``, and end it afterwards. Fails if a server is not installed."""
    program("nginx")
    data = folder / "data"
    web = [free_port(), free_port()]
    with ExitStack() as stack:
        database = stack.enter_context(postgresql())
        redis = stack.enter_context(redis_server(folder / "redis"))
        settings = {
            "DATABASE_URL": database, "REDIS_URL": redis, "HARK_DATA": str(data),
            "HARK_ALLOWED_HOSTS": HOST, "HARK_SECRET_KEY": token_hex(32),
            "HARK_HTTPS": "1", "HARK_JOBS_LEASE_S": "15", "HARK_SPEECH_SOCKET": str(folder / "speech.sock"),
        }  # fmt: skip
        made = subprocess.run(  # creates the tables too, before several processes would
            [sys.executable, "main.py", "admin", "link", "--url", f"https://{HOST}", "--json"],
            cwd=REPOSITORY, env={**os.environ, **settings}, capture_output=True, text=True, timeout=STARTS_S,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        one = ("--workers", "1")
        commands = {queue: ("worker", "--queue", queue, *(() if queue == WEBHOOKS else one)) for queue in QUEUES}
        processes = {
            (queue, number): stack.enter_context(
                started(folder / f"{queue}-{number}.log", *commands[queue], **settings)
            )
            for queue in QUEUES
            for number in range(TRAINING_WORKERS if queue == TRAINING else 1)
        }
        for port in web:
            serve = ("serve", "--no-workers", "--port", str(port))
            stack.enter_context(started(folder / f"web-{port}.log", *serve, **settings))
        for port in web:
            wait_for(partial(answers, port), STARTS_S)
        port = stack.enter_context(nginx(folder / "nginx", *web))
        address = f"https://{HOST}"
        training = [process for (queue, _number), process in processes.items() if queue == TRAINING]
        running_one = Topology(address, "", data, port, database, folder / "nginx", training)
        with asking(running_one) as client:
            # Each starting web server makes a link, perhaps after its first answer; only the newest link works.
            wait_for(lambda: len(_links(folder)) == len(web), STARTS_S)
            works = [path for path in _links(folder) if client.get(path).status_code == 200]
            assert works, "no web server has printed a link that works"
            running_one.link = address + works[-1]
            wait_for(
                lambda: all(client.get("/ready").json()["checks"][f"workers_{queue}"] for queue in QUEUES), STARTS_S
            )
        yield running_one
