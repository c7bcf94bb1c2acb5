"""Sockets for browsers, which have a session, and for programs, which send their token as the first message."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from channels.db import database_sync_to_async
from channels.security.websocket import OriginValidator

from core.errors import HarkError
from webui.accounts.models import User
from webui.accounts.services import user_of_token

WAIT_S = 5.0  # for the first message of who has no session
LONGEST_FIRST = 8_000  # characters
NOBODY, MAY_NOT, NOT_YOURS = 4401, 4403, 4404  # close codes


class OwnPagesAndPrograms(OriginValidator):  # type: ignore[misc]
    """Refuses the pages of other sites. Browsers always say which page opens a socket, programs need not."""

    def valid_origin(self, parsed_origin: Any) -> bool:
        """Called by channels."""
        return parsed_origin is None or bool(super().valid_origin(parsed_origin))


class SignsIn:
    """Mixed into a consumer, before channels' class: lets in who is signed in, or sends ``{"token": "..."}`` in time.

    A token in the address would end up in logs. The consumer says whose it is (:meth:`may`) and what comes then
    (:meth:`begin`, :meth:`message`).
    """

    needed_scope = "read"
    user: User | None = None
    _patience: asyncio.Task[None] | None = None

    async def may(self, user: User) -> bool:
        """Whether the thing that the address names is this user's."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Called once, when the socket is open and it is known whose it is."""

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        """What came after that; unless a consumer says otherwise it is for channels' class."""
        await super().receive(text_data=text_data, bytes_data=bytes_data)  # type: ignore[misc]

    async def connect(self) -> None:
        """Accept, at once or for the time in which a token must come."""
        user = self.scope.get("user")  # type: ignore[attr-defined]
        if user is None or not user.is_authenticated:
            await self.accept()  # type: ignore[attr-defined]
            self._patience = asyncio.create_task(self._lose_patience())
        elif await self.may(user):
            self.user = user
            await self.accept()  # type: ignore[attr-defined]
            await self.begin()
        else:
            await self.close(NOT_YOURS)  # type: ignore[attr-defined]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """The token first, then what the consumer is for."""
        if self.user is not None:
            await self.message(text_data, bytes_data)
        elif self._patience is not None and not self._patience.done():
            self._patience.cancel()
            await self._sign_in(text_data)

    async def disconnect(self, code: int) -> None:
        """Nothing more is waited for."""
        if self._patience is not None:
            self._patience.cancel()

    async def _sign_in(self, text: str | None) -> None:
        try:
            first = json.loads(text) if text and len(text) <= LONGEST_FIRST else None
        except ValueError:
            first = None
        token = first.get("token") if isinstance(first, dict) else None
        try:
            sent = f"Bearer {token}" if isinstance(token, str) else None
            user, scopes = await database_sync_to_async(user_of_token)(sent)
        except HarkError as error:
            await self._refuse(error, NOBODY)
            return
        if self.needed_scope not in scopes:
            lacking = HarkError(
                "The token may not do this.", f"It lacks the scope {self.needed_scope}.", "Make one with that scope."
            )
            await self._refuse(lacking, MAY_NOT)
        elif await self.may(user):
            self.user = user
            await self.begin()
        else:
            await self.close(NOT_YOURS)  # type: ignore[attr-defined]

    async def _lose_patience(self) -> None:
        await asyncio.sleep(WAIT_S)
        await self.close(NOBODY)  # type: ignore[attr-defined]

    async def _refuse(self, error: HarkError, code: int) -> None:
        await self.send(text_data=json.dumps({"error": error.as_dict()}))  # type: ignore[attr-defined]
        await self.close(code)  # type: ignore[attr-defined]
