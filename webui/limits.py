"""No request may fill the disk: bodies are counted before anything else sees them; large ones are users' only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from core.data_folder import storage_error
from core.errors import HarkError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWER = b"The upload is too large for this address. See what the page says about its limits."
LONGEST_NUMBER = 18  # digits
PIECE_S = 60.0  # in which the next piece of a body must come
SLOW = HarkError("The request was cut off.", "Nothing came for a minute.", "Send it again.")
ANSWER_OF_API = HarkError(
    "The request is too large.", "Its body is longer than this address takes.", "Send less; /api/docs says how much."
)


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


def limit_bodies(
    application: Application,
    largest: Callable[[Scope], int],
    for_all: int,
    known: Callable[[Scope], Awaitable[bool]],
) -> Application:
    """An ASGI application that answers 413 where a body is too long, 408 where it stops, and 507 on a full disk.

    Args:
        largest: bytes that a request may have there.
        for_all: bytes that anybody's request may have; more only where ``known`` finds that it is a user's.
    """

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        most = largest(scope)
        if most > for_all and not await known(scope):
            most = for_all
        said = dict(scope["headers"]).get(b"content-length", b"")
        answered = False
        read, going_on = 0, True

        async def counted() -> dict[str, Any]:
            nonlocal read, going_on
            try:
                message = await asyncio.wait_for(receive(), PIECE_S if going_on else None)
            except TimeoutError as error:
                raise _TooSlow from error
            going_on = message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLarge
            return message

        async def watched(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if said.isdigit() and (len(said) > LONGEST_NUMBER or int(said) > most):
                raise _TooLarge
            await application(scope, counted, watched)
        except _TooLarge:
            if not answered:
                await _refuse(scope, send, 413, ANSWER_OF_API, ANSWER)
        except _TooSlow:
            if not answered:
                await _refuse(scope, send, 408, SLOW, f"{SLOW.what} {SLOW.why} {SLOW.what_to_do}".encode())
        except OSError as error:  # of the disk that the body is kept on
            if answered:
                raise
            full = storage_error(error, "receiving the request")
            await _refuse(scope, send, 507, full, f"{full.what} {full.why} {full.what_to_do}".encode())

    return limited


async def _refuse(scope: Scope, send: Send, status: int, error: HarkError, text: bytes) -> None:
    kind, answer = b"text/plain; charset=utf-8", text
    if scope["path"].startswith(("/api/", "/v1/")):
        problem = {"title": error.what, "status": status, **error.as_dict()}
        kind, answer = b"application/problem+json", json.dumps(problem).encode()
    headers = [(b"content-type", kind), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
