"""``manage.py runserver``, which people who know Django type, serves what ``./hark serve`` does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY

STARTS_S = 120


@pytest.mark.slow(reason="starts a server")
def test_runserver_serves_jobs_and_sockets(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "webui/manage.py", "runserver", f"127.0.0.1:{port}"], cwd=REPOSITORY,
            env={**os.environ, "HARK_DATA": str(tmp_path / "data")}, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        until = time.monotonic() + STARTS_S
        while (answer := _upgrade(port)) == "" and process.poll() is None and time.monotonic() < until:
            time.sleep(0.5)
        assert answer.startswith("HTTP/1.1 101 "), (answer, log.read_text())
        assert f"Hark is at http://localhost:{port}" in log.read_text()  # said when its workers have been started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _upgrade(port: int) -> str:
    """The first line of what a client of the sockets is answered; empty where nobody listens."""
    key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    request = f"GET /ws/transcribe HTTP/1.1\r\nHost: localhost\r\n{key}Sec-WebSocket-Version: 13\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request.encode())
            return connection.recv(1000).decode(errors="replace").partition("\r\n")[0]
    except OSError:
        return ""
