"""WebSocket sign-in: browsers have a session, programs send their token as the first message."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings
from django.db import DatabaseError
from django.utils.translation import activate
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui.accounts.models import User
from webui.accounts.services import user_of_token
from webui.accounts.sessions import user_of_session
from webui.http.parameters import json_object
from webui.translation import explained, language_of

WAIT_S = 5.0  # seconds to wait for the first message, without a session
LOOK_EVERY_S = 5.0  # seconds between checks that the user may remain connected
MAX_FIRST_MESSAGE_LENGTH = 8_000  # maximum characters of the first message
MAX_PER_USER = 20  # simultaneous sockets, because each polls the database
UNKNOWN, MAY_NOT, NOT_YOURS, TOO_MANY = 4401, 4403, 4404, 4429  # close codes

# Open sockets and the ids of their users. Needs no lock: the web server is one process, and changes this in one thread.
_open: dict[SignsIn, int] = {}


PORTS = {"http": 80, "https": 443}  # omitted in URLs


class OwnPagesAndPrograms(OriginValidator):  # type: ignore[misc]
    """Rejects pages of other sites. Browsers always send the origin of a page that opens a socket; programs may not."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = dict(scope.get("headers", []))
        host = headers.get(b"host", b"").decode("latin-1")
        proxied = settings.SECURE_PROXY_SSL_HEADER and headers.get(b"x-forwarded-proto") == b"https"
        if b"origin" in headers and not is_own_page(headers[b"origin"].decode("latin-1"), host, bool(proxied)):
            return await WebsocketDenier()(scope, receive, send)
        return await super().__call__(scope, receive, send)

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or bool(super().valid_origin(parsed_origin))


def is_own_page(origin: str, host: str, encrypted: bool = False) -> bool:
    """Return whether ``origin`` is the portal at ``host``, or is trusted by CSRF_TRUSTED_ORIGINS or CORS_ORIGINS.

    If the request was ``encrypted``, the page must have been too, because an unencrypted one may be forged.
    """
    if origin in (*settings.CSRF_TRUSTED_ORIGINS, *settings.CORS_ALLOWED_ORIGINS):
        return True
    try:
        page, own = urlsplit(origin), urlsplit(f"//{host}")
        if encrypted and page.scheme != "https":
            return False
        usual = PORTS.get(page.scheme)
        return bool(page.hostname) and (page.hostname, page.port or usual) == (own.hostname, own.port or usual)
    except ValueError:
        return False


class NothingHere(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.close(NOT_YOURS)


class SignsIn(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Admits clients with a session, and those that send ``{"token": "..."}`` in time.

    A token in the URL would appear in logs. Subclasses decide who may connect (:meth:`may`) and what happens next
    (:meth:`begin`, :meth:`message`).
    """

    needed_scope = "read"
    user: User | None = None
    _patience: asyncio.Task[None] | None = None
    _watching: asyncio.Task[None] | None = None
    _token: str | None = None  # the header that identifies the user; None if the session does
    _closed = False

    async def __call__(self, *arguments: Any) -> None:
        try:
            await super().__call__(*arguments)
        finally:
            _open.pop(self, None)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close once, even if the client has already disconnected."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):
                await super().close(code, reason)

    async def may(self, user: User) -> bool:
        """Return whether the user may connect to the object that the URL names."""
        raise NotImplementedError

    async def is_still_allowed(self, user: User) -> bool:
        """Return whether the user may stay connected. Called every few seconds, because sharing can be withdrawn."""
        return True

    async def begin(self) -> None:
        """Start to serve the client. Called once, when the socket is open and its user is known."""

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        """Handle a message after the sign-in, by default with channels' method."""
        await super().receive(text_data=text_data, bytes_data=bytes_data)

    async def connect(self) -> None:
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.accept()
            self._patience = asyncio.create_task(self._lose_patience())
        elif not await self.may(user):
            await self.close(NOT_YOURS)
        elif not self._is_counted(user):
            await self.close(TOO_MANY)  # rejected before it opens, so that pages fall back to polling
        else:
            await self.accept()
            await self._let_in(user)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if self.user is not None:
            # Samples arrive ten times a second; only text may change something.
            if text_data is None or await self._is_still_in():
                await self.message(text_data, bytes_data)
        elif self._patience is not None and not self._patience.done():
            self._patience.cancel()
            await self._sign_in(text_data)

    async def disconnect(self, code: int) -> None:
        for task in (self._patience, self._watching):
            if task is not None:
                task.cancel()

    def _is_counted(self, user: User) -> bool:
        """Count the socket among the user's; return False if there are already too many."""
        if list(_open.values()).count(user.pk) >= MAX_PER_USER:
            return False
        _open[self] = user.pk
        return True

    async def _let_in(self, user: User) -> None:
        self.user = user
        user.is_alone = False  # query again, because the user may have joined an organization
        activate(language_of(self.scope))
        self._watching = asyncio.create_task(self._watch())
        await self.begin()

    async def _watch(self) -> None:
        """Close the connection soon after its token, its session or its user has become invalid."""
        while await self._is_still_in():
            await asyncio.sleep(LOOK_EVERY_S)

    async def _is_still_in(self) -> bool:
        assert self.user is not None
        if not await database_sync_to_async(self._may_go_on)():
            await self.close(UNKNOWN)
            return False
        try:
            is_allowed = await self.is_still_allowed(self.user)
        except DatabaseError:  # a temporary failure
            return True
        if not is_allowed:
            await self.close(NOT_YOURS)
        return is_allowed

    def _may_go_on(self) -> bool:
        assert self.user is not None
        try:
            if self._token is not None:
                return user_of_token(self._token, even_if_old=True)[0] == self.user
            return user_of_session(getattr(self.scope.get("session"), "session_key", None)) == self.user
        except DatabaseError:  # a temporary failure
            return True
        except HarkError:
            return False

    async def _sign_in(self, text: str | None) -> None:
        try:
            token = json_object(text).get("token") if text and len(text) <= MAX_FIRST_MESSAGE_LENGTH else None
        except ValueError:
            token = None
        try:
            sent = f"Bearer {token}" if isinstance(token, str) else None
            user, scopes = await database_sync_to_async(user_of_token)(sent)
            self._token = sent
        except HarkError as error:
            await self._refuse(error, UNKNOWN)
            return
        if self.needed_scope not in scopes:
            lacking = HarkError(
                "The token does not permit this.",
                f"It lacks the scope {self.needed_scope}.",
                "Create a token with that scope on your account page.",
            )
            await self._refuse(lacking, MAY_NOT)
        elif not await self.may(user):
            await self.close(NOT_YOURS)
        elif not self._is_counted(user):
            many = HarkError(
                "Too many sockets are open.", f"A user can have {MAX_PER_USER}.", "Close one, then try again."
            )
            await self._refuse(many, TOO_MANY)
        else:
            await self._let_in(user)

    async def _lose_patience(self) -> None:
        await asyncio.sleep(WAIT_S)
        await self.close(UNKNOWN)

    async def say(self, **content: Any) -> None:
        await self.send(text_data=json.dumps(content))

    async def say_no_effect(self) -> None:
        """Answer a text message that this socket does not accept."""
        error = HarkError(
            _("The message has no effect."),
            _("This socket does not accept its names or values."),
            _("Send a message from the API documentation."),
        )
        await self.say(error=explained(error))

    async def _refuse(self, error: HarkError, code: int) -> None:
        await self.say(error=explained(error))
        await self.close(code)
