"""The portal as an ASGI application: pages over HTTP, progress and live audio over WebSocket."""

from __future__ import annotations

import os
import re
from typing import cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()  # before the imports below, which need the applications loaded

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from pipeline.media import MediaLimits
from webui.audio.consumers import TranscribeConsumer
from webui.audio.uploads import LARGEST_CHUNK
from webui.compatibility.uploads import takes_recordings
from webui.jobs.consumers import JobConsumer
from webui.limits import Application, Scope, limit_bodies
from webui.listening.consumers import ListenConsumer
from webui.socket_sign_in import OwnPagesAndPrograms

LARGEST_FORM, LARGEST_RECORDING = 2_500_000, 201_000_000  # bytes; a form around a file takes some, too


UPLOADS = re.compile(
    r"/detectors/\d+/\d+/try/(file|mark)|/library/import/upload|/recordings/upload|/api/v1/\S+/(detect|samples)"
)
PIECES = re.compile(r"/recordings/uploads/[0-9a-f-]{36}")


def largest_body(scope: Scope) -> int:
    """Bytes that may be sent with a request: many only to where they belong, by who at least claims to be somebody."""
    headers = dict(scope["headers"])
    somebody = b"authorization" in headers or b"sessionid=" in headers.get(b"cookie", b"")
    if somebody and PIECES.fullmatch(scope["path"]):
        return LARGEST_CHUNK
    if somebody and takes_recordings(scope["path"]):
        return MediaLimits.from_environment().max_bytes + LARGEST_FORM
    return LARGEST_RECORDING if somebody and UPLOADS.fullmatch(scope["path"]) else LARGEST_FORM


sockets = URLRouter(
    [
        path("ws/jobs/<uuid:job_id>", JobConsumer.as_asgi()),
        path("ws/transcribe", TranscribeConsumer.as_asgi()),
        path("ws/listen/<int:detector_id>/<int:number>", ListenConsumer.as_asgi()),
    ]
)
application = ProtocolTypeRouter(
    {
        "http": limit_bodies(cast(Application, pages), largest_body),
        "websocket": OwnPagesAndPrograms(AuthMiddlewareStack(sockets), settings.ALLOWED_HOSTS),
    }
)
