"""Messages about a damaged key or database before the start; and Django's own settings and commands."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY, keep_private
from core.errors import HarkError
from tests.support.processes import free_port
from tests.support.programs import prepared, run_python
from webui.keys.secret import secret_key


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "users").mkdir(parents=True)
    data.chmod(0o755)  # as an earlier version left it
    assert prepared(data) == "ready\n"
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    keep_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00" * 30, b"short", b"a" * 20 + b"\x00" * 40])
def test_a_damaged_key_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(HarkError, match="secret key is damaged") as caught:
        secret_key(path)
    assert "delete the file" in caught.value.what_to_do
    path.unlink()
    made = secret_key(path)
    assert len(made) > 60 and secret_key(path) == made and path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_is_reported_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "secret.key").write_bytes(b"\n")
    assert "secret key is damaged" in prepared(tmp_path)


def test_a_damaged_database_is_reported_with_advice(tmp_path: Path) -> None:
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "portal.sqlite3").write_bytes(b"no database at all" * 1000)
    said = prepared(tmp_path)
    assert "The portal's database cannot be used." in said and "portal.sqlite3" in said
    assert "a copy of the data folder" in said


ASK = """
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
for scheme in "https", "http":
    request = RequestFactory().get("/", headers={"X-Forwarded-Proto": scheme})
    print(SecurityMiddleware(lambda request: HttpResponse())(request).get("Strict-Transport-Security"))
"""


@pytest.mark.parametrize(("https", "said"), [("1", ["max-age=31536000", "None"]), ("", ["None", "None"])])
def test_hsts_is_sent_only_behind_tls(https: str, said: list[str], tmp_path: Path) -> None:
    done = run_python(ASK, DJANGO_SETTINGS_MODULE="webui.settings", HARK_DATA=str(tmp_path), HARK_HTTPS=https)
    assert done.stdout.split() == said


STARTS_S = 120


def test_runserver_serves_jobs_and_sockets(tmp_path: Path) -> None:
    port = free_port()
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
        assert f"Hark is at http://localhost:{port}" in log.read_text()  # printed when its workers have started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _upgrade(port: int) -> str:
    """Return the first line of the answer to a socket's client; "" if nothing listens."""
    key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    request = f"GET /ws/transcribe HTTP/1.1\r\nHost: localhost\r\n{key}Sec-WebSocket-Version: 13\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request.encode())
            return connection.recv(1000).decode(errors="replace").partition("\r\n")[0]
    except OSError:
        return ""
