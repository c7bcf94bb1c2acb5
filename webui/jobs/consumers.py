"""Progress over WebSocket: ``/ws/jobs/<id>`` of one job, ``/ws/jobs`` of all jobs of a user."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.db.models import Q
from django.utils import translation

from core.confinement.untrusted_json import untrusted_json
from webui.accounts.models import User
from webui.accounts.socket_sign_in import NOT_YOURS, SignsIn
from webui.jobs.models import Job
from webui.jobs.services import news

EVERY_S = 0.5
NEWEST = 50  # jobs that are sent regardless of their state
UNREADABLE = 1007  # close code
MAX_ID = 2**63 - 1


class LocalizedConsumer(SignsIn, AsyncJsonWebsocketConsumer):
    """A socket that sends changes until the client disconnects; ``{"language": "de"}`` sets the language."""

    language = "en"
    following: asyncio.Task[None] | None = None

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        """Accept only JSON."""
        try:
            await super().message(text_data, bytes_data)
        except ValueError:
            await self.close(UNREADABLE)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return untrusted_json(text_data)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Set the language of the messages."""
        language = content.get("language") if isinstance(content, dict) else None
        if isinstance(language, str) and language in dict(settings.LANGUAGES):
            self.language = language

    async def disconnect(self, code: int) -> None:
        await super().disconnect(code)
        if self.following is not None:
            self.following.cancel()


class JobConsumer(LocalizedConsumer):
    """Sends changes of a job twice a second until it has ended: ``{"job", "events", "last", "more"}``.

    It reads the database, as polling does, so it needs no message broker, and nothing is lost while it is disconnected.
    The client begins with ``{"after": N}``, which skips events up to N, and may add ``"language": "de"`` for the
    messages. Programs send their token before that.
    """

    async def may(self, user: User) -> bool:
        self.job_id = self.scope["url_route"]["kwargs"]["job_id"]
        return await self.is_still_allowed(user)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Start with the events after the number that the client sends."""
        await super().receive_json(content, **kwargs)
        after = content.get("after") if isinstance(content, dict) else None
        if self.following is None and isinstance(after, int) and 0 <= after <= MAX_ID:
            self.following = asyncio.create_task(self._follow(after))

    async def _follow(self, after: int) -> None:
        before = None
        while True:
            try:
                message = await self._news(after)
            except Job.DoesNotExist:
                await self.close(NOT_YOURS)
                return
            shown = {**message["job"], "seconds": None}
            if message["events"] or shown != before:
                await self.send_json(message)
            before, after = shown, message["last"]
            if not message["job"]["going"] and not message["more"]:
                await self.close()
                return
            await asyncio.sleep(EVERY_S)

    @database_sync_to_async
    def _news(self, after: int) -> dict[str, Any]:
        with translation.override(self.language):
            return news(self.job_id, after)

    @database_sync_to_async
    def is_still_allowed(self, user: User) -> bool:
        """Return False once the job's object is no longer shared, or the user has left the organization."""
        return bool(Job.objects.visible_to(user).filter(id=self.job_id).exists())


class JobsConsumer(LocalizedConsumer):
    """Sends all jobs of a user: ``{"jobs": [...], "gone": [ids]}``.

    It first sends the active jobs and the newest ended ones, then each changed job, and the ids of deleted ones. A job
    has the fields as in :class:`JobConsumer`, and the ``recording`` that it is about, if any.
    """

    async def may(self, user: User) -> bool:
        return True

    async def begin(self) -> None:
        self.following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        sent_jobs: dict[str, dict[str, Any]] = {}
        first = True
        while True:
            jobs, newest = await self._jobs(list(sent_jobs))
            shown = {job["id"]: {**job, "seconds": None} for job in jobs}
            changed = [job for job in jobs if sent_jobs.get(job["id"]) != shown[job["id"]]]
            gone = [name for name in sent_jobs if name not in shown]
            if first or changed or gone:
                await self.send_json({"jobs": changed, "gone": gone})
            sent_jobs = {name: job for name, job in shown.items() if job["going"] or name in newest}
            first = False
            await asyncio.sleep(EVERY_S)

    @database_sync_to_async
    def _jobs(self, sent_ids: list[str]) -> tuple[list[dict[str, Any]], set[str]]:
        """Return active, newest and previously sent jobs, newest first, and the ids of the newest."""
        assert self.user is not None
        mine = Job.objects.owned_by(self.user)
        newest = {str(pk) for pk in mine.values_list("pk", flat=True)[:NEWEST]}
        rows = mine.filter(Q(state__in=Job.GOING) | Q(pk__in=newest.union(sent_ids)))
        with translation.override(self.language):
            return [{**job.snapshot(), "recording": job.spec.get("recording")} for job in rows], newest
