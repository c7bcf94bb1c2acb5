"""The portal as an ASGI application: pages over HTTP, progress and live audio over WebSocket."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import IO, Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")

import django

django.setup(set_prefix=False)  # before the imports below, which require the loaded applications

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, parse_cookie
from django.http.response import HttpResponseBase
from django.urls import path, re_path

from core.errors import HarkError
from webui.accounts.models import User
from webui.accounts.services import user_of_token
from webui.accounts.sessions import user_of_session
from webui.accounts.socket_sign_in import NothingHere, OwnPagesAndPrograms
from webui.http.body_limits import Application, LimitBodies, Scope
from webui.jobs.consumers import JobConsumer, JobsConsumer
from webui.listening.consumers import ListenConsumer, TryConsumer
from webui.recordings.live.consumers import TranscribeConsumer
from webui.upload_limits import MAX_FORM_BYTES, becomes_job, check_body, largest_body

TAKEN_OVER_AT_ONCE = 8
IN_MEMORY = 100_000  # maximum bytes of a body in memory


def user_of(scope: Scope) -> User | None:
    """Return the user of the request's token or session; None without a valid one."""
    headers = dict(scope["headers"])
    if b"authorization" in headers:
        try:
            return user_of_token(headers[b"authorization"].decode("latin-1"))[0]
        except HarkError:
            return None
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    return user_of_session(cookies.get(settings.SESSION_COOKIE_NAME))


class Pages(ASGIHandler):
    """Django's handler, but with bodies on the data folder's disk, because the temporary folder may be in memory.

    It accepts only a few recordings at a time, because each needs a thread with a connection to the database.
    """

    _places = asyncio.Semaphore(TAKEN_OVER_AT_ONCE)

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Handle a request whose body has arrived."""
        async with self._places if becomes_job(request.path) and request.method == "POST" else nullcontext():
            return await super().run_get_response(request)

    async def read_body(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> IO[bytes]:
        """Return the body as a file.

        Raises RequestAborted if the client disconnects, and OSError if the disk is full.
        """
        folder = settings.FILE_UPLOAD_TEMP_DIR
        folder.mkdir(parents=True, exist_ok=True)
        body = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestAborted
                body.write(message.get("body", b""))
                if not message.get("more_body", False):
                    break
            body.seek(0)
        except BaseException:
            body.close()
            raise
        return cast(IO[bytes], body)


sockets = URLRouter(
    [
        path("ws/jobs", JobsConsumer.as_asgi()),
        path("ws/jobs/<uuid:job_id>", JobConsumer.as_asgi()),
        path("ws/transcribe", TranscribeConsumer.as_asgi()),
        path("ws/listen/<int:detector_id>/<int:number>", ListenConsumer.as_asgi()),
        path("ws/try", TryConsumer.as_asgi()),
        re_path("", NothingHere.as_asgi()),
    ]
)
application = ProtocolTypeRouter(
    {
        "http": LimitBodies(
            cast(Application, Pages()),
            largest_body,
            MAX_FORM_BYTES,
            # Not in the thread of all synchronous code, which a request that waits for the database would block.
            database_sync_to_async(user_of, thread_sensitive=False),
            database_sync_to_async(check_body, thread_sensitive=False),
        ),
        "websocket": OwnPagesAndPrograms(
            AuthMiddlewareStack(sockets), [*settings.ALLOWED_HOSTS, *settings.CORS_ALLOWED_ORIGINS]
        ),
    }
)
