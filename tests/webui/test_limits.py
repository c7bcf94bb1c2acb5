"""Large bodies: for users only, counted, and explained where the disk is full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.limits import limit_bodies


def asked(application: Any, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
    """(status, body) of the answer."""
    sent: list[dict[str, Any]] = []
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application({"type": "http", "path": path, "headers": headers}, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def limited(read: Any, user: bool) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            read()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"taken"})

    async def known(scope: Any) -> bool:
        return user

    return limit_bodies(application, lambda scope: 50_000, 5_000, known)


@pytest.mark.parametrize(("user", "length", "status"), [(True, 40_000, 200), (False, 40_000, 413), (False, 4_000, 200)])
def test_large_bodies_are_for_users(user: bool, length: int, status: int) -> None:
    assert asked(limited(lambda: None, user), "/recordings/upload", [], b"x" * length)[0] == status
    said = [(b"content-length", str(length).encode())]
    assert asked(limited(lambda: None, user), "/recordings/upload", said, b"x" * length)[0] == status


@pytest.mark.parametrize("path", ["/recordings/upload", "/api/v1/recordings"])
def test_a_full_disk_is_explained(path: str) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    status, answer = asked(limited(full, True), path, [], b"x" * 3000)
    assert status == 507 and b"The disk is full" in answer and b"Free some space" in answer


def test_a_body_that_stops_coming_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.limits.PIECE_S", 0.1, raising=False)
    sent: list[dict[str, Any]] = []
    pieces = iter([{"type": "http.request", "body": b"x", "more_body": True}])

    async def receive() -> dict[str, Any]:
        for piece in pieces:
            return piece
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/api/v1/jobs", "headers": []}
    asyncio.run(asyncio.wait_for(limited(lambda: None, False)(scope, receive, send), 5.0))
    assert sent[0]["status"] == 408 and b"Send it again" in sent[1]["body"]


@pytest.mark.django_db(transaction=True)
def test_whose_request_it_is(owner: User, owners: Any) -> None:
    from webui.asgi import of_a_user

    _token, text = create_token(user=owner, name="t", scopes=["audio"])
    session = owners.cookies["sessionid"].value

    def known(*headers: tuple[bytes, bytes]) -> bool:
        async def ask() -> bool:
            return bool(await of_a_user({"headers": list(headers)}))

        return asyncio.run(ask())

    assert known((b"authorization", f"Bearer {text}".encode()))
    assert known((b"cookie", f"a=b; sessionid={session}".encode()))
    assert not known()
    assert not known((b"authorization", b"Bearer nobody"))
    assert not known((b"cookie", b"sessionid=made-up"))
