"""Large bodies: for users only, counted, and explained on a full disk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.http.body_limits import Body, LimitBodies
from webui.http.errors import StatusError
from webui.jobs.quota import Limits, set_quota, take_minutes


def asked(application: Any, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
    """Send a request; return (status, body)."""
    sent: list[dict[str, Any]] = []
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    asyncio.run(asyncio.wait_for(application(scope, receive, send), 20.0))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def limited(read: Any, user: bool) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            read()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"taken"})

    async def user_of(scope: Any) -> str | None:
        return "olivia" if user else None

    async def check(body: Any, before: Any) -> None:
        pass

    return LimitBodies(application, lambda path: 50_000, 5_000, user_of, check)


@pytest.mark.parametrize(("user", "length", "status"), [(True, 40_000, 200), (False, 40_000, 413), (False, 4_000, 200)])
def test_large_bodies_need_a_signed_in_user(user: bool, length: int, status: int) -> None:
    assert asked(limited(lambda: None, user), "/recordings/upload", [], b"x" * length)[0] == status
    said = [(b"content-length", str(length).encode())]
    assert asked(limited(lambda: None, user), "/recordings/upload", said, b"x" * length)[0] == status


@pytest.mark.parametrize("path", ["/recordings/upload", "/api/v1/recordings"])
def test_a_full_disk_gets_507(path: str) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    status, answer = asked(limited(full, True), path, [], b"x" * 3000)
    assert status == 507 and b"The disk is full" in answer and b"Free some space" in answer


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_stalled_or_slow_body_times_out(monkeypatch: pytest.MonkeyPatch, goes_on: bool) -> None:
    monkeypatch.setattr("webui.http.body_limits.STALL_S", 0.2)
    sent: list[dict[str, Any]] = []
    came = 0

    async def receive() -> dict[str, Any]:
        nonlocal came
        await asyncio.sleep(0.01 if goes_on or not came else 3600)
        came += 1
        return {"type": "http.request", "body": b"x", "more_body": came < 400}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    monkeypatch.setattr("webui.http.body_limits.READ_ON_S", 0.0)
    scope = {"type": "http", "method": "POST", "path": "/api/v1/jobs", "headers": []}
    asyncio.run(asyncio.wait_for(limited(lambda: None, False)(scope, receive, send), 10.0))
    assert sent[0]["status"] == 408 and b"Send it again" in sent[1]["body"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("what", "path"),
    [
        *((what, "/api/v1/recordings") for what in ("quota", "disk", "queue", "minutes")),
        *(("minutes", path) for path in ("/upload", "/recordings/upload", "/api/meetings", "/api/v1/transcribe")),
    ],
)
def test_uploads_beyond_a_limit_are_rejected_before_their_body(
    owner: User, other: User, settings: Any, monkeypatch: pytest.MonkeyPatch, what: str, path: str
) -> None:
    from webui.asgi import application

    monkeypatch.setattr("webui.http.body_limits.READ_ON_S", 0.0)
    size, status = 500, 429
    if what == "quota":
        settings.USER_MAX_BYTES, size, status = 1_000_000, 500_000_000, 507
    elif what == "disk":
        monkeypatch.setattr("webui.upload_limits.RESERVED_BYTES", 10**18)
        status = 507
    elif what == "queue":
        settings.JOBS_WAITING_PER_USER = 0
    else:
        set_quota(other, Limits(None, None, 1))
        take_minutes(other, 60)
    _token, text = create_token(user=other, name="t", scopes=["audio"])
    headers = [(b"authorization", f"Bearer {text}".encode()), (b"content-length", str(size).encode())]
    headers.append((b"accept", b"application/json"))
    sent: list[dict[str, Any]] = []

    async def nothing_comes() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    asyncio.run(asyncio.wait_for(application(scope, nothing_comes, send), 10.0))
    assert sent[0]["status"] == status and b"what_to_do" in sent[1]["body"]


def test_free_space_is_checked_while_a_body_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.http.body_limits.LOOK_EVERY", 10_000)
    seen: list[int] = []

    async def check(body: Body, before: Any) -> None:
        seen.append(body.size)
        if body.size > 20_000:
            raise StatusError(507, "No room.", "None.", "Leave.")

    async def user_of(scope: Any) -> str:
        return "olivia"

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    limited = LimitBodies(application, lambda path: 50_000, 5_000, user_of, check)
    assert asked(limited, "/recordings/upload", [], b"x" * 40_000)[0] == 507 and seen == [0, 10_000, 20_000, 30_000]


@pytest.mark.django_db
def test_the_user_is_known_from_token_or_session(owner: User, owners: Any) -> None:
    from webui.asgi import user_of

    _token, text = create_token(user=owner, name="t", scopes=["audio"])
    session = (b"cookie", f"a=b; sessionid={owners.cookies['sessionid'].value}".encode())

    def known(*headers: tuple[bytes, bytes]) -> bool:
        return user_of({"headers": list(headers)}) == owner

    assert known((b"authorization", f"Bearer {text}".encode()))
    assert known(session)
    assert not known()
    assert not known((b"authorization", b"Bearer nobody"))
    assert not known((b"cookie", b"sessionid=made-up"))
    owner.set_password("another-good-long-password")
    owner.save()
    assert not known(session), "the new password ended the session"
    owners.force_login(owner)
    session = (b"cookie", f"sessionid={owners.cookies['sessionid'].value}".encode())
    assert known(session)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert not known(session)
