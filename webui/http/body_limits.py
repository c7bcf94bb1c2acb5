"""Limits on request bodies, so that requests cannot fill the disk.

Bytes are counted before anything else reads them, large bodies without an account are rejected, and a user's free space
is checked before and while a body arrives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from core.data_folder import storage_error
from core.errors import HarkError
from webui.http.errors import StatusError, problem, status_of, too_large, with_headers

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_DIGITS = 18  # maximum digits of a number
STALL_S, MIN_BYTES = 60.0, 120_000  # seconds of waiting in which this many bytes of a body must arrive, unless it ends
LOOK_EVERY = 16_000_000  # bytes between checks of the free space
READ_ON_S = 5.0  # seconds for which a rejected body is read: a client that is still sending would get no response


@dataclass(eq=False)
class Body:
    """A user's request body.

    Attributes:
      size: bytes according to its header, or received so far.
      is_whole: whether it has arrived completely.
    """

    user: Any
    path: str
    size: int
    is_whole: bool = False


@dataclass(eq=False)
class LimitBodies:
    """ASGI application that returns 413 if a body is too long, 408 if it stalls, and 507 on a full disk.

    Attributes:
      largest: returns the maximum bytes of a request to a path.
      for_all: maximum bytes of any request; only users that ``user_of`` finds may send more.
      check: raises HarkError if a body may not arrive in addition to those that began before it.
      coming: bodies that are arriving.
    """

    application: Application
    largest: Callable[[str], int]
    for_all: int
    user_of: Callable[[Scope], Awaitable[Any]]
    check: Callable[[Body, Sequence[Body]], Awaitable[None]]
    coming: list[Body] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(self, scope, receive, send)
        try:
            await request.admit()
            await self.application(scope, request.receive, request.send)
        except (HarkError, OSError) as error:  # OSError: the disk that stores the body is full
            if request.answered:
                raise
            refused = storage_error(error, "receiving the request") if isinstance(error, OSError) else error
            unread = receive if request.has_more and request.read <= self.for_all else None
            await _refuse(scope, unread, send, refused)
        finally:
            if request.body is not None:
                self.coming.remove(request.body)


class _Request:
    """A request whose body is counted as it arrives."""

    def __init__(self, limits: LimitBodies, scope: Scope, receive: Receive, send: Send) -> None:
        self.limits, self.scope, self._receive, self._send = limits, scope, receive, send
        self.max_bytes = limits.largest(scope["path"])
        self.body: Body | None = None  # None without a user
        self.read = self.looked_at = 0
        self.has_more, self.answered = True, False
        self.waited_s, self.came = 0.0, 0  # since the last MIN_BYTES bytes

    async def admit(self) -> None:
        """Raise HarkError if the body may not arrive."""
        length = dict(self.scope["headers"]).get(b"content-length", b"")
        if len(length) > MAX_DIGITS:
            raise too_large()
        size = int(length) if length.isdigit() else 0
        if self.max_bytes > self.limits.for_all:
            user = await self.limits.user_of(self.scope)
            if user is None:
                self.max_bytes = self.limits.for_all
            elif size <= self.max_bytes and self.scope["method"] in ("POST", "PUT", "PATCH"):
                self.body = Body(user, self.scope["path"], size)
                self.limits.coming.append(self.body)
                await self.limits.check(self.body, self.limits.coming[:-1])
        if size > self.max_bytes:
            raise too_large()

    async def receive(self) -> dict[str, Any]:
        """Return the next message. Raises HarkError if the body stalls, is too long, or exceeds the space."""
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), STALL_S - self.waited_s if self.has_more else None)
        except TimeoutError as error:
            why = "Almost no data arrived for a minute."
            raise StatusError(408, "The request was cut off.", why, "Send it again.") from error
        self.has_more = message.get("more_body", False)
        new = len(message.get("body", b""))
        self.read += new
        self.waited_s, self.came = self.waited_s + time.monotonic() - began, self.came + new
        if self.came >= MIN_BYTES:
            self.waited_s, self.came = 0.0, 0
        if self.read > self.max_bytes:
            raise too_large()
        if self.body is not None:
            self.body.size, self.body.is_whole = max(self.body.size, self.read), not self.has_more
            if self.read - self.looked_at >= LOOK_EVERY:
                self.looked_at = self.read
                await self.limits.check(self.body, self.limits.coming[: self.limits.coming.index(self.body)])
        return message

    async def send(self, message: dict[str, Any]) -> None:
        self.answered = True
        await self._send(message)


async def _refuse(scope: Scope, receive: Receive | None, send: Send, error: HarkError) -> None:
    headers = dict(scope["headers"])
    if scope["path"].startswith(("/api/", "/v1/")) or b"application/json" in headers.get(b"accept", b""):
        answer = problem(error)
    else:
        text = HttpResponse(str(error), content_type="text/plain; charset=utf-8", status=status_of(error))
        answer = with_headers(error, text)
    answer["Content-Length"], answer["Connection"] = len(answer.content), "close"
    answer_headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer_headers})
    await send({"type": "http.response.body", "body": answer.content, "more_body": True})
    if receive is not None and b"expect" not in headers:
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_ON_S):
                while (await receive()).get("more_body", False):
                    pass
    await send({"type": "http.response.body", "body": b""})
