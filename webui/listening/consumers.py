"""Live detection over WebSocket: receives 16-bit mono samples at 16 kHz and sends scores.

``/ws/listen/<detector>/<version>`` runs a detector, ``/ws/try?phrase=&language=`` a phrase before training.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from channels.db import database_sync_to_async
from django.http import Http404

from core.audio_file import SAMPLE_RATE, whole_samples
from core.errors import HarkError
from model.runtime.detector import BundleError
from model.runtime.detector import Detector as Runtime
from pipeline.serving.detection import as_hark_error
from pipeline.serving.zero_shot import ZeroShotStream
from webui.accounts.models import User
from webui.accounts.socket_sign_in import SignsIn
from webui.http.parameters import json_object
from webui.listening import services
from webui.listening.models import Sample
from webui.organizations.access import to_change
from webui.trainer.models import Version
from webui.trainer.services import version_of
from webui.translation import explained

MAX_MESSAGE_BYTES = 2 * SAMPLE_RATE * 2  # bytes: two seconds
MAX_DURATION_S = 1800.0  # seconds per connection
BUFFER_S = 60.0  # seconds of audio buffered for marking samples
BEFORE_ALARM_S = 2.5
MAX_PHRASE_LENGTH, MAX_LANGUAGE_LENGTH = 300, 20  # maximum characters of each
TOO_MUCH = 4413  # close code


class _Listens(SignsIn):
    """Responds to each message of samples with ``{"time_s", "scores", "detections"}``."""

    needed_scope = "audio"
    runtime: Runtime | ZeroShotStream | None = None

    def loaded(self) -> Runtime | ZeroShotStream:
        """Load the detector; called in a thread. Raises HarkError if it cannot be loaded."""
        raise NotImplementedError

    async def begin(self) -> None:
        self.samples = 0
        self.odd_byte = b""
        try:
            self.runtime = await asyncio.to_thread(self.loaded)
        except HarkError as error:
            await self.say(error=explained(error))
            await self.close()
            return
        await self.say(ready=True, threshold=self.runtime.threshold, frame_s=self.runtime.score_period_s)

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        if self.runtime is None:
            return
        if bytes_data is not None:
            if len(bytes_data) > MAX_MESSAGE_BYTES or self.samples > MAX_DURATION_S * SAMPLE_RATE:
                await self.close(TOO_MUCH)
                return
            samples, self.odd_byte = whole_samples(self.odd_byte + bytes_data)
            await self._score(np.frombuffer(samples, "<i2").astype(np.float32) / 32768.0)
        elif text_data is not None:
            try:
                payload = json_object(text_data)
            except ValueError:
                payload = {}
            await self.handle(payload)

    async def handle(self, payload: dict[str, Any]) -> None:
        """Handle a text message; {} if it is not a JSON object. By default, refuse it."""
        await self.say_no_effect()

    async def _score(self, audio: np.ndarray) -> None:
        assert self.runtime is not None
        self.samples += len(audio)
        self.receive_audio(audio)
        try:
            scores = await asyncio.to_thread(services.scores_of, self.runtime, audio)
        except HarkError as error:
            await self.say(error=explained(error))
            await self.close()
            return
        detections = self.runtime.detections(scores)
        await self.say(
            time_s=round(self.samples / SAMPLE_RATE, 3),
            scores=[round(float(score), 4) for score in scores],
            detections=[{"time_s": hit.time_s, "score": round(hit.score, 4)} for hit in detections],
        )

    def receive_audio(self, audio: np.ndarray) -> None:
        """Handle the samples of a message in addition to scoring them; by default, do nothing."""


class TryConsumer(_Listens):
    """Scores a phrase without training."""

    async def may(self, user: User) -> bool:
        return True

    def loaded(self) -> ZeroShotStream:
        asked = parse_qs(self.scope["query_string"].decode("latin-1"))
        phrase, language = (asked.get(name, [""])[0] for name in ("phrase", "language"))
        return services.zero_shot_runtime(phrase[:MAX_PHRASE_LENGTH], language[:MAX_LANGUAGE_LENGTH] or "en")


class ListenConsumer(_Listens):
    """Scores with a version of a detector.

    A text message ``{"fa_per_day": x}`` sets the threshold for that many false alarms per day. The response is
    ``{"threshold"}``. ``{"mark": "false_alarm" | "missed", "time_s": t}`` puts the audio just before ``t`` into the
    inbox: sending it implies consent, and no other audio is stored. Programs first send their token.
    """

    runtime: Runtime | None

    async def may(self, user: User) -> bool:
        version = await self._version(user)
        if version is None:
            return False
        self.version = version
        self.recent = np.zeros(0, np.float32)
        return True

    async def is_still_allowed(self, user: User) -> bool:
        """Return False once the detector is no longer shared, or the user has left the organization."""
        return await self._version(user) is not None

    def loaded(self) -> Runtime:
        return services.runtime_of(self.version)

    def receive_audio(self, audio: np.ndarray) -> None:
        self.recent = np.concatenate([self.recent, audio])[-round(BUFFER_S * SAMPLE_RATE) :]

    async def handle(self, payload: dict[str, Any]) -> None:
        names = set(payload)
        try:
            value = float(payload["fa_per_day" if "fa_per_day" in names else "time_s"])
        except (ValueError, TypeError, KeyError, OverflowError):
            value = -1.0
        if names == {"fa_per_day"} and value > 0.0:
            await self._turn(value)
        elif names == {"mark", "time_s"} and 0.0 <= value <= MAX_DURATION_S:
            await self._mark(str(payload["mark"]), value)
        else:
            await super().handle(payload)

    async def _turn(self, rate: float) -> None:
        assert self.runtime is not None
        try:
            self.runtime.threshold = self.runtime.bundle.threshold(rate)
        except BundleError as error:
            await self.say(error=explained(as_hark_error(error)))
            return
        await self.say(threshold=self.runtime.threshold)

    async def _mark(self, verdict: str, time_s: float) -> None:
        end = min(len(self.recent), len(self.recent) - self.samples + round(time_s * SAMPLE_RATE))
        audio = self.recent[max(0, end - round(BEFORE_ALARM_S * SAMPLE_RATE)) : max(0, end)]
        try:
            sample = await self._stored_sample(verdict, audio)
        except HarkError as error:
            await self.say(error=explained(error))
            return
        await self.say(kept={"id": sample.pk, "mark": verdict, "time_s": time_s})

    @database_sync_to_async
    def _stored_sample(self, verdict: str, audio: np.ndarray) -> Sample:
        assert self.user is not None
        version = version_of(self.user, self.version.detector_id, self.version.number, to_change)
        return services.save_sample(user=self.user, version=version, verdict=verdict, audio=audio)

    @database_sync_to_async
    def _version(self, user: User) -> Version | None:
        place = self.scope["url_route"]["kwargs"]
        try:
            return version_of(user, place["detector_id"], place["number"])
        except Http404:
            return None
