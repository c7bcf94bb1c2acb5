"""Progress over WebSocket: ``/ws/jobs/<id>``."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.utils import translation

from webui.accounts.models import User
from webui.jobs.models import Job
from webui.jobs.views import news
from webui.socket_sign_in import NOT_YOURS, SignsIn

EVERY_S = 0.5
UNREADABLE = 1007  # close code


class JobConsumer(SignsIn, AsyncJsonWebsocketConsumer):
    """Sends what is new about one job twice a second until it has ended: ``{"job", "events", "last"}``.

    It reads the database, as polling does, so it needs no message broker and nothing is lost while it is not connected.
    The client says ``{"after": N}`` first: events up to N are not sent again; ``"language": "de"`` beside it is that of
    the messages. Programs send their token before that.
    """

    language = "en"
    following: asyncio.Task[None] | None = None

    async def may(self, user: User) -> bool:
        """The job's owner only."""
        self.job_id = self.scope["url_route"]["kwargs"]["job_id"]
        return await self._is_theirs(user)

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        """JSON only."""
        try:
            await super().message(text_data, bytes_data)
        except ValueError:
            await self.close(UNREADABLE)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """The client says from where on."""
        after = content.get("after") if isinstance(content, dict) else None
        language = content.get("language") if isinstance(content, dict) else None
        if isinstance(language, str) and language in dict(settings.LANGUAGES):
            self.language = language
        if self.following is None and isinstance(after, int):
            self.following = asyncio.create_task(self._follow(after))

    async def disconnect(self, code: int) -> None:
        """Stop reading."""
        await super().disconnect(code)
        if self.following is not None:
            self.following.cancel()

    async def _follow(self, after: int) -> None:
        before = None
        while True:
            try:
                said = await self._news(after)
            except Job.DoesNotExist:
                await self.close(NOT_YOURS)
                return
            shown = {**said["job"], "seconds": None}
            if said["events"] or shown != before:
                await self.send_json(said)
            before, after = shown, said["last"]
            if not said["job"]["going"]:
                await self.close()
                return
            await asyncio.sleep(EVERY_S)

    @database_sync_to_async
    def _news(self, after: int) -> dict[str, Any]:
        with translation.override(self.language):
            return news(self.job_id, after)

    @database_sync_to_async
    def _is_theirs(self, user: User) -> bool:
        return Job.objects.filter(id=self.job_id, user_id=user.pk).exists()
