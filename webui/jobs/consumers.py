"""Progress over WebSocket: ``/ws/jobs/<id>``."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from webui.jobs.models import Job
from webui.jobs.views import news

EVERY_S = 0.5
NOT_YOURS = 4404  # close code: there is no such job for this user


class JobConsumer(AsyncJsonWebsocketConsumer):
    """Sends what is new about one job twice a second until it has ended: ``{"job", "events", "last"}``.

    It reads the database, as polling does, so it needs no message broker and nothing is lost while it is not connected.
    The client may say ``{"after": N}`` first: events up to N are not sent again.
    """

    following: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept the job's owner only."""
        user = self.scope.get("user")
        self.job_id = self.scope["url_route"]["kwargs"]["job_id"]
        if user is None or not user.is_authenticated or not await self._is_theirs(user):
            await self.close(NOT_YOURS)
            return
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """The client says from where on."""
        after = content.get("after") if isinstance(content, dict) else None
        if self.following is None and isinstance(after, int):
            self.following = asyncio.create_task(self._follow(after))

    async def disconnect(self, code: int) -> None:
        """Stop reading."""
        if self.following is not None:
            self.following.cancel()

    async def _follow(self, after: int) -> None:
        before = None
        while True:
            try:
                said = await database_sync_to_async(news)(self.job_id, after)
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
    def _is_theirs(self, user: Any) -> bool:
        return Job.objects.filter(id=self.job_id, user_id=user.pk).exists()
