"""A program's end of a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from webui.accounts.models import User
from webui.accounts.services import create_token

WAIT_S = 20.0  # for a message, on busy cores


class Socket:
    """A program's end of a socket."""

    def __init__(self, path: str, origin: str = "", host: str = "localhost", browser: Client | None = None) -> None:
        from webui.asgi import application

        headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
        if browser is not None:  # whose session it is
            headers.append((b"cookie", f"sessionid={browser.cookies['sessionid'].value}".encode()))
        path, _, query = path.partition("?")
        asked = {"path": path, "query_string": query.encode()}
        scope = {"type": "websocket", **asked, "headers": headers, "subprotocols": []}
        self.end = ApplicationCommunicator(application, scope)

    async def open(self) -> bool:
        await self.end.send_input({"type": "websocket.connect"})
        return bool((await self.end.receive_output(WAIT_S))["type"] == "websocket.accept")

    async def say(self, content: Any) -> None:
        kind = "bytes" if isinstance(content, bytes) else "text"
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        await self.end.send_input({"type": "websocket.receive", kind: text})

    async def hear(self, wait_s: float = WAIT_S) -> Any:
        """Return the next message, or the code with which it was closed."""
        said = await self.end.receive_output(wait_s)
        return said.get("code", 1000) if said["type"] == "websocket.close" else json.loads(said["text"])


_runners: list[asyncio.Runner] = []


def run(awaited: Coroutine[Any, Any, Any]) -> Any:
    """Wait for a coroutine. Sockets are served only while it runs."""
    if not _runners:
        _runners.append(asyncio.Runner())
    return _runners[0].run(awaited)


@pytest.fixture(autouse=True)
def no_socket_is_left() -> Iterator[None]:
    yield
    while _runners:
        _runners.pop().close()


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets check often whether the sign-in that opened them is still valid."""
    monkeypatch.setattr("webui.accounts.socket_sign_in.LOOK_EVERY_S", 0.1)


class Program:
    """A client of a WebSocket for sequential programs."""

    def __init__(self, path: str, origin: str = "", host: str = "localhost", browser: Client | None = None) -> None:
        self._socket = Socket(path, origin, host, browser)
        self.end = self._socket.end

    def open(self) -> bool:
        return bool(run(self._socket.open()))

    def say(self, content: Any) -> None:
        run(self._socket.say(content))

    def hear(self, wait_s: float = WAIT_S) -> Any:
        return run(self._socket.hear(wait_s))


def signed_in(path: str, token: str) -> Program:
    """Open a socket and send its token."""
    socket = Program(path)
    assert socket.open()
    socket.say({"token": token})
    return socket


def token_of(user: User, *scopes: str) -> str:
    return create_token(user=user, name="socket", scopes=scopes or ("read", "audio"))[1]
