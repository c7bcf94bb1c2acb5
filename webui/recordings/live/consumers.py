"""Live transcription over WebSocket, ``/ws/transcribe``: receives 16-bit mono samples at 16 kHz and sends words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.urls import reverse

from core.audio_file import SAMPLE_RATE, whole_samples
from core.errors import HarkError
from webui.accounts.models import User
from webui.accounts.socket_sign_in import TOO_MANY, SignsIn
from webui.accounts.storage import user_data
from webui.http.errors import known
from webui.http.parameters import json_object
from webui.recordings.live import sessions
from webui.recordings.transcribing.intake import checked_options
from webui.translation import explained

MAX_MESSAGE_BYTES = 2 * SAMPLE_RATE * 2  # bytes: two seconds
MAX_DURATION_S = 1800.0  # seconds per connection
START: dict[str, Any] = {  # the options of a session and their types
    "engine": str | None, "language": str | None, "detectors": list | None, "answer": bool | None, "save": bool | None
}  # fmt: skip
MAX_WAITING_BYTES = 60 * SAMPLE_RATE * 2  # bytes that may wait for a recognizer that is slower than speech
TOO_MUCH = 4413  # close code
UNREADABLE = 1007
OUR_FAULT = 1011

log = logging.getLogger(__name__)

T = TypeVar("T")
# Separate threads: asyncio's (6 on two cores) send the audio of all users, and must not wait for a recognizer.
_recognizing = ThreadPoolExecutor(8, "live")
_open_sessions: dict[TranscribeConsumer, int] = {}  # the user of each active one; the web server counts in one thread


async def _in_thread(do: Callable[..., T], *arguments: Any) -> T:
    """Run ``do`` in a thread of the recognizers, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_recognizing, do, *arguments)


class TranscribeConsumer(SignsIn):
    """Replies to samples with ``{"partial": {"text", "start_s", "end_s"}}`` and ``{"final": the same and "segments"}``.

    A first text message may set options: ``{"start": {"engine", "language", "detectors": [ids], "answer": true, "save":
    true}}``. These add messages: ``{"event": {"phrase", "time_s", "score"}}`` from detectors, ``{"answer": {...}}`` to
    spoken questions, from the user's own transcripts, and ``{"saved": {"recording", "address"}}`` at the end.

    ``{"stop": true}`` ends the session: remaining results are sent, then ``{"ended": true}``. If the connection breaks,
    a session with ``save`` is saved. A user's sessions beyond ``settings.LIVE_PER_USER`` are closed with 4429.
    """

    needed_scope = "audio"
    session: sessions.Session | None = None
    working: asyncio.Task[None] | None = None
    detectors: Sequence[int] = ()  # ids of those that run

    async def __call__(self, *arguments: Any) -> None:
        """Run the consumer; however it ends, even through a bug, free its place and save its session."""
        try:
            await super().__call__(*arguments)
        finally:
            _open_sessions.pop(self, None)
            await self._keep_rest()

    async def may(self, user: User) -> bool:
        return True

    async def is_still_allowed(self, user: User) -> bool:
        """Return False once a detector in use is no longer shared, or the user has left its organization."""
        if not self.detectors:
            return True
        seen = await database_sync_to_async(sessions.chosen_versions)(user, self.detectors)
        return {version.detector_id for version in seen} == set(self.detectors)

    async def begin(self) -> None:
        self.waiting = bytearray()
        self.odd_byte = b""
        self.news = asyncio.Event()
        self.stopping = False
        self.received = 0
        self.options: dict[str, Any] = {}
        self.answering: set[asyncio.Task[None]] = set()

    async def message(self, text_data: str | None, bytes_data: bytes | None) -> None:
        if bytes_data is not None:
            if self.stopping or self._closed:
                return
            self.received += len(bytes_data)
            too_long = len(bytes_data) > MAX_MESSAGE_BYTES or self.received > MAX_DURATION_S * SAMPLE_RATE * 2
            if too_long or len(self.waiting) > MAX_WAITING_BYTES:
                await self.close(TOO_MUCH)
                return
            if self.session is None and not await self._start({}):
                return
            assert self.session is not None
            samples, self.odd_byte = whole_samples(self.odd_byte + bytes_data)
            try:
                self.session.write(samples)
                self.waiting += samples
            except HarkError as error:  # end as if the client had stopped, so that earlier audio is saved
                await self.say(error=explained(error))
                self.stopping = True
            self.news.set()
        elif text_data is not None:
            try:
                payload = json_object(text_data)
            except ValueError:
                await self.close(UNREADABLE)
                return
            if payload.keys() == {"start"} and self.session is None:
                await self._start(payload["start"] if isinstance(payload["start"], dict) else {})
            elif payload.keys() == {"start"}:
                await self.say(error=explained(sessions.already_started()))
            elif payload.keys() != {"stop"} or not payload["stop"]:
                await self.say_no_effect()
            else:
                self.stopping = True
                self.news.set()
                if self.session is None:
                    await self.close()

    async def _keep_rest(self) -> None:
        """Stop the recognizer, and save a session that has not been saved, if the client requested that."""
        if self.session is None or self.working is None:
            return
        for task in self.answering:
            task.cancel()
        self.working.cancel()
        await asyncio.gather(self.working, return_exceptions=True)
        try:
            await self._keep(self.session, announce=False)
        except Exception:
            log.warning("a live transcription was not saved", exc_info=True)

    async def _start(self, start: dict[str, Any]) -> bool:
        assert self.user is not None
        if self not in _open_sessions:
            if list(_open_sessions.values()).count(self.user.pk) >= settings.LIVE_PER_USER:
                await self.say(error=explained(sessions.too_many(settings.LIVE_PER_USER)))
                await self.close(TOO_MANY)
                return False
            _open_sessions[self] = self.user.pk
        self.options = {
            "engine": start.get("engine") or "auto",
            "language": start.get("language") or None,
            "answer": bool(start.get("answer")),
            "save": bool(start.get("save")),
        }
        try:
            for name, value in start.items():
                if not isinstance(value, START.get(name, ())):
                    raise sessions.invalid_option(name)
            # Report invalid options now, not when the recording is saved.
            checked_options({"engine": self.options["engine"], "language": self.options["language"]})
            versions = await database_sync_to_async(sessions.chosen_versions)(self.user, start.get("detectors"))
            self.detectors = [version.detector_id for version in versions]
            path = await database_sync_to_async(sessions.new_file)(self.user) if self.options["save"] else None
            self.session = await _in_thread(
                sessions.Session, self.options["engine"], self.options["language"], versions, path, user_data(self.user)
            )
        except HarkError as error:
            await self.say(error=explained(error))
            await self.close()
            return False
        await self.say(ready=True, engine=self.session.engine, why=self.session.why)
        if missing := [wanted for wanted in start.get("detectors") or () if wanted not in self.detectors]:
            await self.say(error=explained(sessions.not_run(missing)))
        self.working = asyncio.create_task(self._work(self.session))
        return True

    async def _work(self, session: sessions.Session) -> None:
        """Recognize until the client stops, then save the session, even after a bug."""
        code = None
        for step in (self._recognize, self._keep):
            try:
                await step(session)
            except Exception as error:
                if (error_and_status := known(error)) is not None:
                    await self.say(error=explained(error_and_status[0]))
                else:
                    log.warning("a live transcription broke off", exc_info=True)
                    code = OUR_FAULT
        _open_sessions.pop(self, None)  # before sending "ended", because the client may then begin the next session
        if code is None:
            await self.say(ended=True)
        await self.close(code)

    async def _recognize(self, session: sessions.Session) -> None:
        """Recognize everything received since the last call in one step, so that a slow recognizer can catch up."""
        while True:
            await self.news.wait()
            self.news.clear()
            content, last = bytes(self.waiting), self.stopping
            self.waiting.clear()
            if content:
                await self._tell(await _in_thread(session.feed, content))
            if last:
                await self._tell(await _in_thread(session.finish))
                break
        if self.answering:
            await asyncio.wait(self.answering, timeout=30.0)

    async def _tell(self, news: list[dict[str, Any]]) -> None:
        for message in news:
            await self.say(**message)
            if "final" in message and self.options["answer"]:
                for question in sessions.questions_in(message["final"]["text"]):
                    task = asyncio.create_task(self._answer(question, message["final"]["start_s"]))
                    self.answering.add(task)
                    task.add_done_callback(self.answering.discard)

    async def _answer(self, question: str, time_s: float) -> None:
        assert self.user is not None
        look = database_sync_to_async(sessions.answer, thread_sensitive=False, executor=_recognizing)
        answer = await look(user=self.user, question=question)
        if answer is not None:
            for citation in answer["citations"]:
                citation["address"] = reverse("recordings:recording", args=[citation["recording"]])
            await self.say(answer={**answer, "time_s": time_s})

    async def _keep(self, session: sessions.Session, announce: bool = True) -> None:
        """Create a recording of the live audio, if requested and if there is any.

        Raises HarkError or OperationalError if that fails; the file still exists.
        """
        session.close()
        path: Path | None = session.path
        if path is None or not path.exists():
            return
        if not session.samples:
            path.unlink()
            return
        assert self.user is not None
        recording = await database_sync_to_async(sessions.save)(
            user=self.user, path=path, engine=self.options["engine"], language=self.options["language"]
        )
        if announce:
            address = reverse("recordings:recording", args=[recording.pk])
            await self.say(saved={"recording": str(recording.pk), "address": address})
