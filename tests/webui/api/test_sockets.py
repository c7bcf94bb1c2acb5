"""Programs' sockets: a token as the first message, in time, for one's own things only."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.utils import timezone

from core.worded import worded
from model.runtime.detector import BundleError
from pipeline.serving.detection import open_detector
from tests.support.api_calls import World
from tests.support.hostile_bundles import loop_bundle
from tests.support.portal_users import browser_of
from tests.support.sockets import WAIT_S, Program, Socket, no_socket_is_left, run, signed_in, token_of, watchful
from webui.accounts.models import ApiToken, User
from webui.accounts.services import create_token, end_pair, issue_pair, revoke_token, set_active
from webui.jobs.models import Job, JobEvent
from webui.listening.models import Sample

__all__ = ["no_socket_is_left", "watchful"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)


class Bundle:
    def threshold(self, fa_per_day: float) -> float:
        if fa_per_day > 240:
            raise BundleError("No threshold.", "It is beyond the table.", "Choose another.")
        return fa_per_day / 100


class Runtime:
    threshold, score_period_s = 0.5, 0.08
    bundle = Bundle()

    def scores(self, audio: np.ndarray) -> list[float]:
        return [0.25]

    def detections(self, scores: list[float]) -> list[Any]:
        return []


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The runtime of each detector, with the same score for any sound."""
    runtime = Runtime()
    monkeypatch.setattr("webui.listening.services.runtime_of", lambda version: runtime)
    return runtime


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give clients only a moment to send their token."""
    monkeypatch.setattr("webui.accounts.socket_sign_in.WAIT_S", 0.2)


def test_a_program_follows_a_job(world: World) -> None:
    JobEvent.objects.create(job=world.failed, event={"event": "log", "time": 2.0, "message": "m", "level": "info"})
    for token in (token_of(world.user, "read"), issue_pair(user=world.user).access):
        socket = signed_in(f"/ws/jobs/{world.failed.id}", token)
        socket.say({"after": 0})
        said = socket.hear()
        assert said["job"]["state"] == "failed" and [event["event"] for event in said["events"]][-1] == "log"
        assert socket.hear() == 1000


def test_the_jobs_socket_sends_only_the_users_own_jobs(world: World, other: User) -> None:
    mine, theirs = token_of(world.user, "read"), token_of(other, "read")
    made = {"kind": "transcribe", "queue": "general", "state": "running", "spec": {"recording": "r"}}
    own = Job.objects.create(user=world.user, title="mine", **made)
    foreign = Job.objects.create(user=other, title="theirs", **made)
    expected = {str(job.pk) for job in Job.objects.filter(user=world.user)}
    first, second = signed_in("/ws/jobs", mine), signed_in("/ws/jobs", theirs)
    assert {job["id"] for job in first.hear()["jobs"]} == expected
    assert [job["id"] for job in second.hear()["jobs"]] == [str(foreign.pk)]
    Job.objects.filter(pk=own.pk).update(stage="transcribe", done=1.0, total=4.0)
    (said,) = first.hear()["jobs"]
    assert (said["id"], said["stage"], said["done"], said["total"]) == (str(own.pk), "transcribe", 1.0, 4.0)
    assert said["recording"] == "r"
    Job.objects.filter(pk=own.pk).update(state="done")
    (said,) = first.hear()["jobs"]
    assert said["state"] == "done" and not said["going"]
    Job.objects.filter(pk=own.pk).delete()
    assert first.hear() == {"jobs": [], "gone": [str(own.pk)]}
    Job.objects.filter(pk=foreign.pk).update(state="failed")
    assert [job["state"] for job in second.hear()["jobs"]] == ["failed"]
    assert run(first.end.receive_nothing(1.2))
    first.say("{")
    assert first.hear() == 1007


def test_the_jobs_socket_needs_a_token_with_scope(world: World, impatient: None) -> None:
    only_train = token_of(world.user, "train")
    silent = Program("/ws/jobs")
    silent.open()
    assert silent.hear() == 4401
    without_scope = signed_in("/ws/jobs", only_train)
    assert "scope" in without_scope.hear()["error"]["why"] and without_scope.hear() == 4403


def test_job_messages_are_in_the_pages_language(world: World) -> None:
    token = token_of(world.user)
    said = worded("Synthesizing %(n)d clips", n=3).parts()
    event = {"event": "stage", "time": 1.0, "name": "synthesize", "message": "Synthesizing 3 clips", "said": said}
    JobEvent.objects.create(job=world.failed, event=event)
    Job.objects.filter(pk=world.failed.pk).update(message="Synthesizing 3 clips", said=said)
    for language, message in (("de", "3 Clips werden synthetisiert"), ("../x", "Synthesizing 3 clips"), (7, None)):
        socket = signed_in(f"/ws/jobs/{world.failed.id}", token)
        socket.say({"after": 0, "language": language})
        heard = socket.hear()
        assert heard["job"]["message"] == heard["events"][-1]["message"] == (message or "Synthesizing 3 clips")


def test_a_silent_client_is_disconnected(world: World, impatient: None) -> None:
    for path in (f"/ws/jobs/{world.failed.id}", f"/ws/listen/{world.version.detector_id}/1"):
        socket = Program(path)
        assert socket.open()
        assert socket.hear() == 4401


@pytest.mark.parametrize(
    "first",
    ['{"after": 0}', "{", "[]", '{"token": 7}', '{"token": ""}', '{"token": "hark_x"}', b"\x00\x00", '{"mark": "x"}',
     json.dumps({"token": "x" * 9000})],
)  # fmt: skip
def test_a_client_without_a_token_is_disconnected(world: World, first: Any) -> None:
    for path in (f"/ws/jobs/{world.failed.id}", f"/ws/listen/{world.version.detector_id}/1"):
        socket = Program(path)
        assert socket.open()
        socket.say(first)
        said = socket.hear()
        assert set(said["error"]) == {"what", "why", "what_to_do"}
        assert socket.hear() == 4401


def test_expired_tokens_and_other_scopes_are_rejected(world: World) -> None:
    token, text = create_token(user=world.user, name="old", scopes=["read"])
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    only_train = token_of(world.user, "train")
    for sent, code, why in ((text, 4401, "expired"), (only_train, 4403, "scope")):
        socket = signed_in(f"/ws/jobs/{world.failed.id}", sent)
        assert why in socket.hear()["error"]["why"]
        assert socket.hear() == code


def test_other_users_get_404(world: World, other: User) -> None:
    text = token_of(other)
    for path in (f"/ws/jobs/{world.failed.id}", f"/ws/listen/{world.version.detector_id}/1"):
        socket = signed_in(path, text)
        assert socket.hear() == 4404


def test_foreign_origins_are_rejected(world: World) -> None:
    for host, origin, opens in (
        ("localhost", "https://evil.example", False),
        ("localhost", "null", False),
        ("localhost:8000", "http://localhost:8000", True),
        ("localhost", "http://localhost", True),
        ("localhost:80", "http://localhost", True),
        ("localhost:443", "https://localhost", True),
        ("localhost:8000", "http://localhost:9999", False),  # another program of this machine
        ("localhost:8000", "http://127.0.0.1:8000", False),
        ("evil.example", "http://evil.example", False),  # a foreign name that resolves to this server
        ("localhost", "http://localhost:x", False),
    ):
        assert Program(f"/ws/jobs/{world.failed.id}", origin, host).open() == opens, (host, origin)


def test_behind_a_tls_proxy_http_origins_are_rejected(world: World, settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for origin, opens in (("https://localhost", True), ("http://localhost", False)):
        socket = Program(f"/ws/jobs/{world.failed.id}", origin)
        socket.end.scope["headers"].append((b"x-forwarded-proto", b"https"))
        assert socket.open() == opens, origin


def test_a_token_in_the_url_is_ignored(world: World, impatient: None) -> None:
    socket = Program(f"/ws/jobs/{world.failed.id}?token={token_of(world.user)}")
    assert socket.open()
    assert socket.hear() == 4401


def listening(world: World) -> Program:
    socket = signed_in(f"/ws/listen/{world.version.detector_id}/1", token_of(world.user, "audio"))
    assert socket.hear()["ready"]
    return socket


def test_samples_divided_between_messages_are_scored(
    world: World, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[float] = []
    monkeypatch.setattr(runtime, "scores", lambda audio: [scored.extend(audio), 0.25][1:])
    content = (1024 * np.arange(9)).astype("<i2").tobytes()
    socket = listening(world)
    for part in (content[:3], content[3:4], content[4:11], content[11:]):
        socket.say(part)
        assert socket.hear()["scores"] == [0.25]
    assert scored == [n / 32 for n in range(9)]


def test_a_program_streams_audio_and_gets_scores(world: World, runtime: Runtime) -> None:
    socket = listening(world)
    socket.say(bytes(2 * 1280))
    assert socket.hear() == {"time_s": 0.08, "scores": [0.25], "detections": []}


def test_an_endless_model_is_stopped_and_reported(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("model.runtime.detector.CALL_S", 1.0)
    runtime = open_detector(loop_bundle(tmp_path / "hostile", from_level=0.5))
    monkeypatch.setattr("webui.listening.services.runtime_of", lambda version: runtime)
    socket = listening(world)
    socket.say(np.full(1280, 20_000, "<i2").tobytes())
    assert "more than" in socket.hear()["error"]["why"]
    assert socket.hear() == 1000


def test_invalid_messages_close_the_socket_with_a_code(
    world: World, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    token = token_of(world.user)
    place = f"/ws/listen/{world.version.detector_id}/{world.version.number}"
    deep = "[" * 7000
    assert not Program("/ws/none").open()
    for first in ('{"token": "hark_\\ud800"}', deep):  # before the user is known
        socket = Program("/ws/transcribe")
        assert socket.open()
        socket.say(first)
        assert "error" in socket.hear()
        assert socket.hear() == 4401
    for path in (f"/ws/jobs/{world.failed.id}", "/ws/transcribe"):
        socket = signed_in(path, token)
        socket.say(deep * 30)
        assert socket.hear() == 1007
    socket = signed_in(f"/ws/jobs/{world.failed.id}", token)
    for after in (10**30, -1):
        socket.say({"after": after})  # not a valid event number
    socket.say({"after": 0})
    assert socket.hear()["job"]["state"] == "failed"
    socket = signed_in(place, token)
    assert socket.hear()["ready"]
    for wrong in (deep * 30, '{"mark": "missed", "time_s": 1e308}', '{"mark": "missed", "time_s": 1e999}'):
        socket.say(wrong)
        assert "no effect" in socket.hear()["error"]["what"]
    socket.say('{"mark": "missed", "time_s": ' + "9" * 4000 + "}")
    assert "no effect" in socket.hear()["error"]["what"]
    socket.say(bytes(3200))
    assert socket.hear(10)["time_s"] == 0.1  # the stream continues
    assert "Traceback" not in caplog.text


def test_sockets_are_limited_per_user(world: World, other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.accounts.socket_sign_in.MAX_PER_USER", 2, raising=False)
    token, another = token_of(world.user), token_of(other)
    page = Program("/ws/jobs", browser=browser_of(world.user))
    first, second = signed_in("/ws/jobs", token), signed_in("/ws/jobs", token)
    assert "jobs" in first.hear() and "jobs" in second.hear()
    third = signed_in("/ws/jobs", token)
    assert "error" in third.hear() and third.hear() == 4429
    assert not page.open()
    assert "jobs" in signed_in("/ws/jobs", another).hear()
    run(first.end.send_input({"type": "websocket.disconnect", "code": 1000}))
    run(first.end.wait(3))
    assert "jobs" in signed_in("/ws/jobs", token).hear()


def running(user: User) -> Job:
    return Job.objects.create(user=user, kind="plan", queue="general", title="t", spec={}, state="running")


@pytest.mark.parametrize("ended", ["token", "user", "pair", "session"])
def test_a_socket_closes_when_its_credentials_are_revoked(
    other: User, others: Client, watchful: None, ended: str
) -> None:
    address = f"/ws/jobs/{running(other).id}"
    made, text = create_token(user=other, name="socket", scopes=["read"])
    pair = issue_pair(user=other)
    if ended == "session":
        socket = Program(address, browser=others)
        assert socket.open()
    else:
        socket = signed_in(address, pair.access if ended == "pair" else text)
    socket.say({"after": 0})
    assert socket.hear()["job"]["state"] == "running"
    run(asyncio.sleep(0.5))  # the socket stays open until its credentials end
    if ended == "token":
        revoke_token(token=made)
    elif ended == "pair":
        end_pair(refresh=pair.refresh)
    elif ended == "user":
        set_active(user=other, active=False)
        set_active(user=other, active=True)  # sockets closed in the meantime stay closed
    else:
        others.post("/account/logout")
    assert socket.hear() == 4401


def test_a_client_that_disconnects_during_closing_logs_no_traceback(other: User, watchful: None) -> None:
    job = running(other)
    made, text = create_token(user=other, name="socket", scopes=["read"])

    async def conversation() -> None:
        socket = Socket(f"/ws/jobs/{job.id}")
        served, closing = socket.end.application, asyncio.Event()

        async def gone(scope: Any, receive: Any, send: Any) -> None:
            async def sent(message: Any) -> None:
                if message["type"] == "websocket.close":
                    closing.set()
                    raise OSError("the client has gone")  # as uvicorn's ClientDisconnected
                await send(message)

            await served(scope, receive, sent)

        socket.end = ApplicationCommunicator(gone, socket.end.scope)
        assert await socket.open()
        await socket.say({"token": text})
        await socket.say({"after": 0})
        assert (await socket.hear())["job"]["state"] == "running"
        tasks = asyncio.all_tasks()
        await sync_to_async(revoke_token)(token=made)
        await asyncio.wait_for(closing.wait(), WAIT_S)
        await socket.end.send_input({"type": "websocket.disconnect", "code": 1006})
        await socket.end.wait(WAIT_S)
        assert not [task.exception() for task in tasks if task.done() and not task.cancelled() and task.exception()]

    run(conversation())


def test_an_expiring_access_token_does_not_close_its_socket(other: User, settings: Any, watchful: None) -> None:
    address = f"/ws/jobs/{running(other).id}"
    settings.ACCESS_TOKEN_MINUTES = 2 / 60
    access = issue_pair(user=other).access
    first = signed_in(address, access)
    first.say({"after": 0})
    assert first.hear()["job"]["state"] == "running"
    run(asyncio.sleep(2.5))
    second = signed_in(address, access)
    assert "expired" in second.hear()["error"]["why"] and second.hear() == 4401
    Job.objects.update(message="on it")
    assert first.hear()["job"]["message"] == "on it"


def test_a_revoked_token_cannot_mark_samples(world: World, runtime: Runtime) -> None:
    made, text = create_token(user=world.user, name="socket", scopes=["audio"])
    samples = Sample.objects.count()
    socket = signed_in(f"/ws/listen/{world.version.detector_id}/1", text)
    assert socket.hear()["ready"]
    socket.say(bytes(2 * 32_000))
    socket.hear()
    revoke_token(token=made)
    socket.say({"mark": "missed", "time_s": 2.0})
    assert socket.hear() == 4401
    assert Sample.objects.count() == samples


def test_a_program_tries_an_untrained_phrase(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def untrained(phrase: str, language: str) -> Runtime:
        asked.append((phrase, language))
        return Runtime()

    monkeypatch.setattr("webui.listening.services.zero_shot_runtime", untrained)
    socket = signed_in("/ws/try?phrase=hey+compass&language=en-GB", token_of(world.user, "audio"))
    assert socket.hear()["threshold"] == 0.5
    for nothing in ('{"mark": "missed", "time_s": 0}', '{"fa_per_day": 2}'):  # there is no detector yet
        socket.say(nothing)
        assert "no effect" in socket.hear()["error"]["what"]
    socket.say(bytes(2 * 1280))
    assert socket.hear() == {"time_s": 0.08, "scores": [0.25], "detections": []}
    assert asked == [("hey compass", "en-GB")]


@pytest.mark.parametrize(("address", "what"), [("language=de&phrase=hallo", "tried yet"), ("phrase=", "phrase")])
def test_a_detector_that_cannot_be_tried_is_reported(world: World, address: str, what: str) -> None:
    socket = signed_in(f"/ws/try?{address}", token_of(world.user, "audio"))
    said = socket.hear()["error"]
    assert what in said["what"] and said["why"] and said["what_to_do"]
    assert socket.hear() == 1000


def test_fa_per_day_changes_the_threshold_while_listening(world: World, runtime: Runtime) -> None:
    socket = listening(world)
    for nonsense in ("0", '"x"', "-1", "1e999", "[]", '2, "mark": "missed"'):
        socket.say(f'{{"fa_per_day": {nonsense}}}')
        assert socket.hear()["error"]["what"]
    socket.say('{"fa_per_day": 12}')
    assert socket.hear() == {"threshold": 12 / 100}
    assert runtime.threshold == 12 / 100
