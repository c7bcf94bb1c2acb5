"""No request may fill the disk: bodies are counted before anything else sees them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from core.errors import HarkError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWER = b"The upload is too large for this address. See what the page says about its limits."
ANSWER_OF_API = HarkError(
    "The request is too large.", "Its body is longer than this address takes.", "Send less; /api/docs says how much."
)


class _TooLarge(Exception):
    pass


def limit_bodies(application: Application, largest: Callable[[Scope], int]) -> Application:
    """An ASGI application that answers 413 where a body is longer than ``largest(scope)`` bytes, said or sent."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        most = largest(scope)
        said = dict(scope["headers"]).get(b"content-length", b"")
        answered = False
        read = 0

        async def counted() -> dict[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLarge
            return message

        async def watched(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if said.isdigit() and int(said) > most:
                raise _TooLarge
            await application(scope, counted, watched)
        except _TooLarge:
            if not answered:
                kind, answer = b"text/plain; charset=utf-8", ANSWER
                if scope["path"].startswith("/api/"):
                    problem = {"title": ANSWER_OF_API.what, "status": 413, **ANSWER_OF_API.as_dict()}
                    kind, answer = b"application/problem+json", json.dumps(problem).encode()
                headers = [(b"content-type", kind), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 413, "headers": headers})
                await send({"type": "http.response.body", "body": answer})

    return limited
