"""Silent connections end, and do not keep others out."""

from __future__ import annotations

import argparse
import gzip
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import uvicorn
from django.test import Client
from django.urls import reverse
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from command_line import serve as serving
from core.data_folder import REPOSITORY
from tests.support.portal_driver import served
from tests.support.processes import free_port
from tests.support.ready_recordings import ready_recording
from tests.support.servers import wait_for
from webui.accounts.models import User
from webui.http import connection

MAX_CONNECTIONS = 8


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer after reading everything."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@contextmanager
def running(application: Any, **options: Any) -> Iterator[int]:
    """Run an application in a web server of this process; yield its port."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_level="error", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(5)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with running(hello, http="webui.http.connection:Connection", limit_concurrency=MAX_CONNECTIONS, ws="none") as port:
        yield port


async def hears(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A socket that replies with the length of each message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (said := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(said.get("bytes") or said.get("text") or ""))})


def test_socket_messages_are_limited_to_256_kilobytes() -> None:
    command = serving._web(argparse.Namespace(host="127.0.0.1", port=1), 1024)
    options = {"--ws": "ws", "--ws-max-size": "ws_max_size", "--http": "http"}
    taken: dict[str, Any] = {name: command[command.index(option) + 1] for option, name in options.items()}
    most = taken["ws_max_size"] = int(taken["ws_max_size"])
    assert most == 256 * 1024
    with running(hears, **taken) as port, connect(f"ws://127.0.0.1:{port}/") as heard:
        heard.send(bytes(most))
        assert heard.recv(10) == str(most)
        heard.send(bytes(most + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            heard.recv(10)
        assert closed.value.rcvd.code == 1009  # too big


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 3)


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server closes it within three seconds."""
    try:
        return connection.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return answer_of(connection)


def answer_of(connection: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"hello"):
        said += connection.recv(1000)
    return said


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "])
def test_an_incomplete_request_header_times_out(port: int, said: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(said)
        assert is_closed(connection)


def test_a_slow_request_header_times_out(port: int) -> None:
    with connected(port) as connection:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 5.0:
                connection.sendall(b"x")
                time.sleep(0.05)


def test_clients_that_send_requests_stay_connected(port: int) -> None:
    with connected(port) as connection:
        for _request in range(4):
            assert b"200" in ask(connection)
            time.sleep(0.3)  # in total longer than a header may take
        # a body may arrive slowly
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for letter in b"body":
            time.sleep(0.3)
            connection.sendall(bytes([letter]))
        assert b"200" in answer_of(connection)


def test_an_incomplete_second_request_times_out(port: int) -> None:
    with connected(port) as connection:
        assert b"200" in ask(connection)
        connection.sendall(b"GET / HT")
        assert is_closed(connection)


def test_connections_beyond_the_limit_are_closed_immediately(port: int) -> None:
    idle = [connected(port) for _number in range(MAX_CONNECTIONS)]
    try:
        with connected(port) as one_more:
            began = time.monotonic()
            assert is_closed(one_more) and time.monotonic() - began < 0.3
        time.sleep(0.8)  # silent ones are closed
        with connected(port) as later:
            assert b"200" in ask(later)
    finally:
        for connection in idle:
            connection.close()


def test_connections_beyond_the_file_limit_do_not_flood_the_log() -> None:
    files, port = 320, free_port()
    command = serving._web(argparse.Namespace(host="127.0.0.1", port=port), files)
    command = [f"{Path(__file__).stem}:hello" if part == "webui.asgi:application" else part for part in command]
    server = subprocess.Popen(
        [*command, "--lifespan", "off", "--app-dir", str(Path(__file__).parent)],
        cwd=REPOSITORY, stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    idle: list[socket.socket] = []
    try:
        until = time.monotonic() + 30
        while not idle and time.monotonic() < until:
            try:
                idle.append(connected(port))
            except ConnectionError:
                time.sleep(0.1)
        server.send_signal(signal.SIGSTOP)  # connections that arrive in the meantime are accepted immediately
        for _number in range(2 * files):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            idle.append(one)
        server.send_signal(signal.SIGCONT)
        time.sleep(1.0)
    finally:
        for one in idle:
            one.close()
        server.terminate()
        said = server.communicate(timeout=20)[1]
    assert b"Too many open files" not in said, len(said)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raise this process's limit of open files to the maximum."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_portal_with_1024_files_survives_1200_incomplete_requests(tmp_path: Path, many_files: None) -> None:
    with served(tmp_path, files=1024) as portal, ExitStack() as connections:
        address = urlsplit(portal.address)
        for _number in range(1200):
            one = connections.enter_context(socket.create_connection(("127.0.0.1", address.port or 0), 10))
            with suppress(ConnectionError):  # there are too many already
                one.sendall(b"GET / HTTP/1.1\r\nHost: ")

        def is_healthy() -> bool:
            try:
                with urlopen(f"{portal.address}/health", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        wait_for(is_healthy, connection.HEAD_S + 10)
        said = (tmp_path / "serve.log").read_text()
        assert len(said.splitlines()) < 10, said


ASKS: Mapping[str, str] = {"Accept-Encoding": "gzip, br"}


def test_pages_and_json_are_compressed(owners: Client) -> None:
    for address in (reverse("home"), reverse("jobs:index"), "/api/v1/jobs"):
        plain, sent = owners.get(address), owners.get(address, headers=ASKS)
        assert "Content-Encoding" not in plain.headers
        if len(plain.content) > 200:
            assert sent.headers["Content-Encoding"] == "gzip" and len(sent.content) < len(plain.content) * 0.7
            assert "Accept-Encoding" in sent.headers["Vary"]
            assert gzip.decompress(sent.content)[:40] == plain.content[:40]
    assert owners.get(reverse("home"), headers=ASKS).headers["Content-Encoding"] == "gzip"


def test_audio_is_not_compressed(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    sound = owners.get(reverse("recordings:audio", args=[recording.pk]), headers=ASKS)
    assert sound.status_code == 200 and "Content-Encoding" not in sound.headers
    part = owners.get(reverse("recordings:audio", args=[recording.pk]), headers={**ASKS, "Range": "bytes=0-3"})
    assert part.status_code == 206 and b"".join(part) == b"fLaC"
