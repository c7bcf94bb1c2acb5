"""No request may fill the disk: bodies are counted before anything else sees them; large ones are users' only, who must
have room for them before they come and as they come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.data_folder import storage_error
from core.errors import HarkError
from webui.errors import StatusError, too_large

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_NUMBER = 18  # digits
PIECE_S, LEAST = 60.0, 120_000  # a body that is waited for so long must bring so many bytes meanwhile, or end
LOOK_EVERY = 16_000_000  # bytes, after which it is looked again whether there is room
READ_ON_S = 5.0  # a body that is refused: else the client has no answer, since it is still sending


@dataclass(eq=False)
class Body:
    """What a user sends.

    Attributes:
        size: bytes as its header gives them, or as many as have come.
        is_whole: it has come.
    """

    user: Any
    path: str
    size: int
    is_whole: bool = False


def limit_bodies(
    application: Application,
    largest: Callable[[Scope], int],
    for_all: int,
    user_of: Callable[[Scope], Awaitable[Any]],
    check: Callable[[Body, Sequence[Body]], Awaitable[None]],
) -> Application:
    """An ASGI application that answers 413 where a body is too long, 408 where it stops, and 507 on a full disk.

    Args:
        largest: bytes that a request may have there.
        for_all: bytes that anybody's request may have; more only where ``user_of`` finds whose it is.
        check: raises HarkError where a body may not come beside those of all users that came before it.
    """
    coming: list[Body] = []

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        most = largest(scope)
        said = dict(scope["headers"]).get(b"content-length", b"")
        answered = False
        read, looked_at, going_on = 0, 0, True
        waited_s, came = 0.0, 0
        body: Body | None = None

        async def counted() -> dict[str, Any]:
            nonlocal read, looked_at, going_on, waited_s, came
            began = time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), PIECE_S - waited_s if going_on else None)
            except TimeoutError as error:
                what_to_do = "Send it again."
                raise StatusError(
                    408, "The request was cut off.", "Next to nothing came for a minute.", what_to_do
                ) from error
            going_on = message.get("more_body", False)
            new = len(message.get("body", b""))
            read += new
            waited_s, came = waited_s + time.monotonic() - began, came + new
            if came >= LEAST:
                waited_s, came = 0.0, 0
            if read > most:
                raise too_large()
            if body is not None:
                body.size, body.is_whole = max(body.size, read), not going_on
                if read - looked_at >= LOOK_EVERY:
                    looked_at = read
                    await check(body, coming[: coming.index(body)])
            return message

        async def watched(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if len(said) > LONGEST_NUMBER:
                raise too_large()
            size = int(said) if said.isdigit() else 0
            if most > for_all:
                user = await user_of(scope)
                if user is None:
                    most = for_all
                elif size <= most and scope["method"] in ("POST", "PUT", "PATCH"):
                    body = Body(user, scope["path"], size)
                    coming.append(body)
                    await check(body, coming[:-1])
            if size > most:
                raise too_large()
            await application(scope, counted, watched)
        except (HarkError, OSError) as error:  # OSError: of the disk that the body is kept on
            if answered:
                raise
            refused = storage_error(error, "receiving the request") if isinstance(error, OSError) else error
            await _refuse(scope, receive if going_on and read <= for_all else None, send, refused)
        finally:
            if body is not None:
                coming.remove(body)

    return limited


async def _refuse(scope: Scope, receive: Receive | None, send: Send, error: HarkError) -> None:
    headers = dict(scope["headers"])
    status = int(getattr(error, "status", 422))
    kind, answer = b"text/plain; charset=utf-8", f"{error.what} {error.why} {error.what_to_do}".encode()
    if scope["path"].startswith(("/api/", "/v1/")) or b"application/json" in headers.get(b"accept", b""):
        problem = {"title": error.what, "status": status, **error.as_dict()}
        kind, answer = b"application/problem+json", json.dumps(problem).encode()
    length = str(len(answer)).encode()
    said = [(b"content-type", kind), (b"content-length", length), (b"connection", b"close")]
    if status in (429, 503):
        said.append((b"retry-after", str(getattr(error, "wait_s", None) or 30).encode()))
    await send({"type": "http.response.start", "status": status, "headers": said})
    await send({"type": "http.response.body", "body": answer, "more_body": True})
    if receive is not None and b"expect" not in headers:
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_ON_S):
                while (await receive()).get("more_body", False):
                    pass
    await send({"type": "http.response.body", "body": b""})
