"""Live audio over WebSocket: ``/ws/listen/<detector>/<version>``, 16-bit mono samples at 16 kHz in, scores out."""

from __future__ import annotations

import asyncio

import numpy as np
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import Http404

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.untrusted_json import untrusted_json
from model.runtime.detector import BundleError
from model.runtime.detector import Detector as Runtime
from webui.accounts.models import User
from webui.accounts.socket_sign_in import SignsIn
from webui.listening import services
from webui.trainer.models import Version
from webui.trainer.services import version_of

LONGEST_MESSAGE = 2 * SAMPLE_RATE * 2  # bytes: two seconds
LONGEST_S = 1800.0  # of one connection
KEPT_S = 60.0  # of the latest audio, from which a marked sample is taken
BEFORE_ALARM_S = 2.5
TOO_MUCH = 4413  # close code


class ListenConsumer(SignsIn, AsyncWebsocketConsumer):
    """Answers each message of samples with ``{"time_s", "scores", "detections"}``.

    A text message ``{"mark": "false_alarm" | "missed", "time_s": t}`` keeps the audio just before ``t`` in the inbox:
    sending it is the consent, nothing else is stored. Programs send their token before all that.
    """

    needed_scope = "audio"
    runtime: Runtime | None = None

    async def may(self, user: User) -> bool:
        """The detector's owner only."""
        version = await self._version(user)
        if version is None:
            return False
        self.version = version
        return True

    async def begin(self) -> None:
        """Load the detector."""
        try:
            self.runtime = await asyncio.to_thread(services.runtime_of, self.version)
        except HarkError as error:
            await self.say(error=error.as_dict())
            await self.close()
            return
        self.recent = np.zeros(0, np.float32)
        self.samples = 0
        await self.say(ready=True, threshold=self.runtime.threshold, frame_s=self.runtime.score_period_s)

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        """Samples, or a mark."""
        if self.runtime is None:
            return
        if bytes_data is not None:
            if len(bytes_data) > LONGEST_MESSAGE or self.samples > LONGEST_S * SAMPLE_RATE:
                await self.close(TOO_MUCH)
                return
            await self._score(bytes_data)
        elif text_data is not None:
            await self._mark(text_data)

    async def _score(self, content: bytes) -> None:
        assert self.runtime is not None
        audio = np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32) / 32768.0
        self.samples += len(audio)
        self.recent = np.concatenate([self.recent, audio])[-round(KEPT_S * SAMPLE_RATE) :]
        try:
            scores = await asyncio.to_thread(self.runtime.scores, audio)
        except BundleError as error:
            await self.say(error={"what": error.what, "why": error.why, "what_to_do": error.what_to_do})
            await self.close()
            return
        found = self.runtime.detections(scores)
        await self.say(
            time_s=round(self.samples / SAMPLE_RATE, 3),
            scores=[round(float(score), 4) for score in scores],
            detections=[{"time_s": hit.time_s, "score": round(hit.score, 4)} for hit in found],
        )

    async def _mark(self, text: str) -> None:
        try:
            wish = untrusted_json(text)
            verdict, time_s = str(wish["mark"]), float(wish["time_s"])
        except (ValueError, TypeError, KeyError, OverflowError):
            return
        if not 0.0 <= time_s <= LONGEST_S:
            return
        end = min(len(self.recent), len(self.recent) - self.samples + round(time_s * SAMPLE_RATE))
        audio = self.recent[max(0, end - round(BEFORE_ALARM_S * SAMPLE_RATE)) : max(0, end)]
        try:
            sample = await database_sync_to_async(services.keep_sample)(
                user=self.user, version=self.version, verdict=verdict, audio=audio
            )
        except HarkError as error:
            await self.say(error=error.as_dict())
            return
        await self.say(kept={"id": sample.pk, "mark": verdict, "time_s": time_s})

    @database_sync_to_async
    def _version(self, user: User) -> Version | None:
        place = self.scope["url_route"]["kwargs"]
        try:
            return version_of(user=user, detector_id=place["detector_id"], number=place["number"])
        except Http404:
            return None
