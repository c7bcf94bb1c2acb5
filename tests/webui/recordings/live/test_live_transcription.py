"""Live transcription over WebSocket: words, detections, answers, saved recordings."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError

from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.readiness import Readiness
from model.runtime.detector import BundleError
from model.runtime.detector import Detector as Runtime
from pipeline.recordings.transcripts.transcript import Segment, Word
from tests.support.constants import replace_in
from tests.support.ready_recordings import ready_recording
from tests.support.sockets import Socket
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.recordings.live import consumers, sessions
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.uploading import chunks
from webui.trainer.models import Detector, Version

pytestmark = pytest.mark.django_db(transaction=True)
PHRASE = "hey compass"
MESSAGE = 1280  # samples


class Double:
    """A recognizer that finds one sentence in any audio."""

    name, model, hosted = "double", "test", False
    said = "who brings the map"

    def available(self) -> Readiness:
        return Readiness(True)

    def chosen(self) -> tuple[Double, str]:
        return self, "it is a test"

    def hear(self, audio: np.ndarray) -> list[Segment]:
        words = self.said.split()
        step = len(audio) / SAMPLE_RATE / max(1, len(words))
        parts = tuple(Word(word, i * step, (i + 1) * step, 0.9) for i, word in enumerate(words))
        return [Segment(0.0, len(audio) / SAMPLE_RATE, self.said, 0.9, parts, "en")]


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Double:
    double = Double()
    replace_in(
        sessions, monkeypatch, choose=lambda name, language, data: double.chosen(),
        recognize=lambda engine, audio, language: double.hear(audio),
    )  # fmt: skip
    return double


def sound() -> list[bytes]:
    """Speak the phrase, then pause, in a microphone's messages."""
    samples = (np.clip(spoken(PHRASE, 0.5, 1.5), -1, 1) * 32767).astype("<i2")
    return [samples[at : at + MESSAGE].tobytes() for at in range(0, len(samples), MESSAGE)]


async def opened(token: str) -> Socket:
    socket = Socket("/ws/transcribe")
    assert await socket.open()
    await socket.say({"token": token})
    return socket


def talk(user: User, conversation: Callable[[Socket], Awaitable[list[Any]]], scope: str = "audio") -> list[Any]:
    token = create_token(user=user, name="live", scopes=(scope,))[1]

    async def whole() -> list[Any]:
        return await conversation(await opened(token))

    return asyncio.run(whole())


async def to_the_end(socket: Socket) -> list[Any]:
    heard = []
    while not isinstance(said := await socket.hear(), int):
        heard.append(said)
    return [*heard, said]


def of_kind(heard: list[Any], kind: str) -> list[Any]:
    return [said[kind] for said in heard if isinstance(said, dict) and kind in said]


async def all_of_it(socket: Socket, **start: Any) -> list[Any]:
    await socket.say({"start": start})
    for message in sound():
        await socket.say(message)
    await socket.say({"stop": True})
    return await to_the_end(socket)


def test_words_are_sent_while_they_are_spoken(owner: User) -> None:
    heard = talk(owner, all_of_it)
    assert heard[0] == {"ready": True, "engine": "double test", "why": "it is a test"}
    (final,) = of_kind(heard, "final")
    assert final["text"] == Double.said and 0.2 < final["start_s"] < 0.9 < final["end_s"]
    assert final["segments"][0]["words"][0]["text"] == "who"
    assert heard[-2:] == [{"ended": True}, 1000] and not of_kind(heard, "answer")
    assert not Recording.objects.exists()


def test_all_messages_are_documented(owner: User) -> None:
    page = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8").partition("`/ws/transcribe` (scope")[2]
    documented = set(re.findall(r'^\| `\{"(\w+)":', page, re.MULTILINE))
    ready_recording(owner)
    heard = talk(owner, partial(all_of_it, answer=True, save=True))
    said = {next(iter(message)) for message in heard if isinstance(message, dict)}
    assert {"ready", "final", "answer", "saved", "ended"} <= said
    # Final results that arrive immediately have no partial.
    assert documented == said | {"start", "stop", "partial", "event", "error"}


def test_samples_are_accepted_without_a_start_message(owner: User) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        for message in sound():
            await socket.say(message)
        await socket.say({"stop": True})
        return await to_the_end(socket)

    assert of_kind(talk(owner, conversation), "final")


def test_spoken_questions_are_answered_from_the_users_own_transcripts(owner: User, other: User) -> None:
    ready_recording(owner)
    conversation = partial(all_of_it, answer=True)
    (answer,) = of_kind(talk(owner, conversation), "answer")
    assert answer["question"] == Double.said and answer["text"] == "Anna brings the lantern and the map"
    assert answer["citations"][0]["address"].startswith("/recordings/")
    assert of_kind(talk(other, conversation), "answer") == []


@pytest.fixture
def detector(owner: User, portal: Path) -> Detector:
    keyword_hmm_bundle(portal / "models" / "run-1" / "bundle", PHRASE, size="standard")
    made = Detector.objects.create(user=owner, phrase=PHRASE, language="en")
    Version.objects.create(detector=made, number=1, folder="models/run-1", bundle="bundle", summary={})
    return made


def test_only_the_users_own_detectors_run_on_the_stream(owner: User, other: User, detector: Detector) -> None:
    conversation = partial(all_of_it, detectors=[detector.pk, 999, "x", None])
    heard = talk(owner, conversation)
    (event,) = of_kind(heard, "event")
    assert event["phrase"] == PHRASE and event["score"] > 0.5
    assert of_kind(heard, "error")[0]["what"] == "Some detectors do not run: 999, 'x', None."
    assert of_kind(talk(other, conversation), "event") == []


def test_a_detector_that_fails_does_not_end_the_stream(
    owner: User, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Runtime, audio: np.ndarray) -> np.ndarray:
        raise BundleError("It failed.", "Because.", "Do.")

    monkeypatch.setattr(Runtime, "scores", fail)
    heard = talk(owner, partial(all_of_it, detectors=[detector.pk], save=True))
    (error,) = of_kind(heard, "error")
    assert error["what"] == "It failed." and of_kind(heard, "final") and of_kind(heard, "saved")
    assert heard[-2:] == [{"ended": True}, 1000]


def test_a_bug_ends_the_stream_but_the_audio_is_stored(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions.Session, "finish", lambda self: 1 / 0)
    *_heard, saved, code = talk(owner, partial(all_of_it, save=True))
    recording = transcripts.recordings_of(owner).select_related("user").get()
    assert saved["saved"]["recording"] == str(recording.pk) and code == 1011
    assert len(read_audio(recording.path / "original.wav")) == len(spoken(PHRASE, 0.5, 1.5))


@pytest.mark.parametrize("who", ["owner", "other"])  # the owner has no quota, so test both
def test_the_session_is_stored_if_requested(who: str, request: pytest.FixtureRequest, owner: User) -> None:
    user = request.getfixturevalue(who)
    (saved,) = of_kind(talk(user, partial(all_of_it, save=True)), "saved")
    recording = transcripts.recordings_of(user).select_related("user").get()
    assert saved == {"recording": str(recording.pk), "address": f"/recordings/{recording.pk}"}
    kept = read_audio(recording.path / "original.wav")
    assert len(kept) == len(spoken(PHRASE, 0.5, 1.5)) and recording.now == "working"
    assert recording.name.startswith("Live, ") and not list(chunks.folder_of(user).iterdir())


def test_audio_is_stored_when_the_connection_breaks(owner: User) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        await socket.say({"start": {"save": True}})
        for message in sound():
            await socket.say(message)
        await socket.end.send_input({"type": "websocket.disconnect", "code": 1006})
        await socket.end.wait(10)
        return []

    talk(owner, conversation)
    recording = transcripts.recordings_of(owner).select_related("user").get()
    assert len(read_audio(recording.path / "original.wav")) == len(spoken(PHRASE, 0.5, 1.5))


def test_audio_received_before_a_bug_in_a_message_is_stored(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        await socket.say({"start": {"save": True}})
        assert (await socket.hear())["ready"]
        await socket.say(sound()[0])
        (path,) = chunks.folder_of(owner).iterdir()
        while not path.stat().st_size > 2 * MESSAGE:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(sessions.Session, "write", lambda self, content: 1 / 0)
        await socket.say(sound()[1])
        with pytest.raises(ZeroDivisionError):
            await socket.end.wait(10)
        return []

    talk(owner, conversation)
    recording = transcripts.recordings_of(owner).select_related("user").get()
    assert len(read_audio(recording.path / "original.wav")) == MESSAGE


def test_samples_divided_between_messages_are_stored_and_recognized(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, fed = b"".join(sound()), []
    feed = sessions.Session.feed
    monkeypatch.setattr(sessions.Session, "feed", lambda self, part: fed.append(part) or feed(self, part))

    async def conversation(socket: Socket) -> list[Any]:
        await socket.say({"start": {"save": True}})
        assert (await socket.hear())["ready"]
        for at in range(0, len(content), 2001):
            await socket.say(content[at : at + 2001])
            await asyncio.sleep(0.01)
        await socket.say({"stop": True})
        return await to_the_end(socket)

    assert of_kind(talk(owner, conversation), "final") and b"".join(fed) == content
    recording = transcripts.recordings_of(owner).select_related("user").get()
    assert (recording.path / "original.wav").read_bytes().endswith(content)


def test_a_full_disk_ends_the_session_and_what_fitted_is_saved(
    owner: User, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "new_file", lambda user: small_disk / "live.wav")
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 20_000))
    heard = talk(owner, partial(all_of_it, save=True))
    (error,), (_saved,) = of_kind(heard, "error"), of_kind(heard, "saved")
    assert "The disk is full" in error["what"] and heard[-2:] == [{"ended": True}, 1000]
    recording = transcripts.recordings_of(owner).select_related("user").get()
    kept, whole = read_audio(recording.path / "original.wav"), b"".join(sound())
    assert len(kept) >= 4 * MESSAGE and (kept * 32768).astype("<i2").tobytes() == whole[: 2 * len(kept)]


def test_a_database_on_a_full_disk_ends_the_session(owner: User, portal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**given: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(sessions, "save", full)
    heard = talk(owner, partial(all_of_it, save=True))
    assert "disk of this server is full" in of_kind(heard, "error")[0]["what"]
    assert heard[-2:] == [{"ended": True}, 1000] and len(list((portal / "uploads" / "recordings").iterdir())) == 1


def test_a_session_without_audio_stores_nothing(owner: User, portal: Path) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        await socket.say({"start": {"save": True}})
        await socket.say({"stop": True})
        return await to_the_end(socket)

    assert not of_kind(talk(owner, conversation), "saved")
    assert not list((portal / "uploads" / "recordings").iterdir())


def fail(*given: Any) -> Any:
    raise HarkError("It failed.", "Because.", "Do.")


def test_an_engine_that_fails_once_does_not_end_the_stream(owner: User, engine: Double) -> None:
    engine.hear = fail
    heard = talk(owner, all_of_it)
    assert of_kind(heard, "error")[0]["what"] == "It failed."
    assert heard[-2:] == [{"ended": True}, 1000]


@pytest.mark.parametrize("option", [{"save": 1}, {"answer": "true"}, {"language": 7}, {"speakers": 2}])
def test_an_invalid_option_is_reported_by_name(owner: User, option: dict[str, Any]) -> None:
    error, code = talk(owner, partial(all_of_it, **option))
    assert next(iter(option)) in error["error"]["why"] and code == 1000


def test_options_after_the_first_sample_are_refused(owner: User) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        await socket.say(sound()[0])
        return await all_of_it(socket, save=True)

    heard = talk(owner, conversation)
    assert "already started" in of_kind(heard, "error")[0]["why"] and not of_kind(heard, "saved")


def test_messages_without_an_effect_are_answered(owner: User) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        for message in ({"foo": 1}, {"start": {}, "save": True}, {"stop": False}):
            await socket.say(message)
            assert "no effect" in (await socket.hear())["error"]["what"]
        return await all_of_it(socket)

    assert talk(owner, conversation)[-2:] == [{"ended": True}, 1000]


def test_a_missing_engine_is_reported(owner: User, engine: Double) -> None:
    engine.chosen = fail
    heard = talk(owner, all_of_it)
    assert heard[0]["error"]["what"] == "It failed." and heard[-1] == 1000


def test_simultaneous_sessions_are_limited_per_user(
    owner: User, other: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LIVE_PER_USER = 1
    tokens = [create_token(user=user, name="live", scopes=("audio",))[1] for user in (owner, other)]

    async def started(token: str) -> Socket:
        socket = await opened(token)
        await socket.say({"start": {}})
        return socket

    async def gone(socket: Socket) -> None:
        await socket.end.send_input({"type": "websocket.disconnect", "code": 1006})
        await socket.end.wait(10)

    async def conversation() -> None:
        first, theirs = await started(tokens[0]), await started(tokens[1])
        assert (await first.hear())["ready"] and (await theirs.hear())["ready"]
        error, code = await to_the_end(await started(tokens[0]))
        assert error["error"]["what"] == "You are already transcribing live." and code == 4429
        # Disconnected, ended by an invalid message, ended normally, or by a bug: the slot is free again.
        await gone(first)
        second = await started(tokens[0])
        assert (await second.hear())["ready"]
        await second.say("{")
        assert (await to_the_end(second))[-1] == 1007
        await gone(second)
        third = await started(tokens[0])
        await third.say({"stop": True})
        heard = await to_the_end(third)
        assert heard[0]["ready"] and heard[-2:] == [{"ended": True}, 1000]
        fourth = await started(tokens[0])
        assert (await fourth.hear())["ready"]
        with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
            broken.setattr(sessions.Session, "write", lambda self, content: 1 / 0)
            await fourth.say(sound()[0])
            await fourth.end.wait(10)
        last = await started(tokens[0])
        assert (await last.hear())["ready"]
        await gone(last)
        await gone(theirs)

    asyncio.run(conversation())
    assert not consumers._open_sessions


@pytest.mark.parametrize(("said", "code"), [("{", 1007), ("[]", 1007), (b"\0" * 100_000, 4413)])
def test_invalid_messages_close_the_socket(owner: User, said: Any, code: int) -> None:
    async def conversation(socket: Socket) -> list[Any]:
        await socket.say(said)
        return await to_the_end(socket)

    assert talk(owner, conversation)[-1] == code


def test_a_session_longer_than_the_limit_is_closed(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "MAX_DURATION_S", 0.5)
    assert talk(owner, all_of_it)[-1] == 4413


def test_a_token_needs_the_audio_scope(owner: User) -> None:
    assert talk(owner, to_the_end, "read")[-1] == 4403


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Who brings the map", ["Who brings the map"]),
        ("We are late. What time is it? Never mind.", ["What time is it?"]),
        ("Wann treffen wir uns", ["Wann treffen wir uns"]),
        ("You bring it?", ["You bring it?"]),
        ("What", []),
        ("whatever he says is fine", []),
        ("We know what he says", []),
        ("", []),
    ],
)
def test_questions_are_recognized_in_text(text: str, asked: list[str]) -> None:
    assert sessions.questions_in(text) == asked


def test_detectors_without_a_version_are_not_offered(owner: User) -> None:
    Detector.objects.create(user=owner, phrase="no version", language="en")
    assert sessions.detectors_of(owner) == [] and sessions.chosen_versions(owner, [1, 2]) == []
