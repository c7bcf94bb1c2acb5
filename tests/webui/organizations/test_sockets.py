"""Sockets about what is shared: who may open them, and that they end with the membership."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from tests.webui.api.test_sockets import Socket, talk, token_of
from tests.webui.organizations.conftest import House
from webui.jobs.consumers import JobsConsumer
from webui.jobs.models import Job
from webui.organizations import services
from webui.organizations.models import Membership, Role
from webui.trainer.models import Detector

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets look often whether they may stay open."""
    monkeypatch.setattr("webui.accounts.socket_sign_in.LOOK_EVERY_S", 0.1)


def test_a_job_s_socket(house: House) -> None:
    tokens = {name: token_of(house.people[name], "read") for name in ("vera", "otto", "rita")}
    job = house.version.job_id
    Job.objects.filter(pk=job).update(state=Job.State.RUNNING)
    membership = Membership.objects.select_related("user", "organization").get(user=house.people["vera"])

    async def conversation() -> None:
        for name in ("otto", "rita"):
            socket = Socket(f"/ws/jobs/{job}")
            await socket.open()
            await socket.say({"token": tokens[name]})
            assert await socket.hear() == 4404
        socket = Socket(f"/ws/jobs/{job}")
        await socket.open()
        await socket.say({"token": tokens["vera"]})
        await socket.say({"after": 0})
        assert (await socket.hear())["job"]["title"] == "hey compass"
        await sync_to_async(services.remove)(membership=membership, by=house.people["ada"])
        assert await socket.hear() == 4404

    talk(conversation)


def test_a_detector_s_socket(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {name: token_of(house.people[name]) for name in ("vera", "otto")}

    class Silent:
        threshold, score_period_s = 0.5, 0.08

    monkeypatch.setattr("webui.listening.consumers.ListenConsumer.loaded", lambda consumer: Silent())
    detector = house.version.detector
    at = f"/ws/listen/{house.version.detector_id}/1"

    async def conversation() -> None:
        socket = Socket(at)
        await socket.open()
        await socket.say({"token": tokens["otto"]})
        assert await socket.hear() == 4404
        socket = Socket(at)
        await socket.open()
        await socket.say({"token": tokens["vera"]})
        assert (await socket.hear())["ready"]
        await socket.say({"mark": "missed", "time_s": 1.0})
        assert (await socket.hear())["error"]["what"] == "You may not change this."
        withdraw = sync_to_async(services.share)
        await withdraw(thing=detector, organization=None, by=house.sam)
        assert await socket.hear() == 4404

    talk(conversation)


def test_live_transcription_with_a_detector_of_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {name: token_of(house.people[name]) for name in ("vera", "mia")}
    silent = SimpleNamespace(engine="double", why="", samples=0, path=None, close=lambda: None)
    monkeypatch.setattr("webui.audio.live.Session", lambda *arguments: silent)
    memberships = Membership.objects.select_related("user", "organization")
    vera, mia = (memberships.get(user=house.people[name]) for name in ("vera", "mia"))

    async def conversation() -> None:
        with_it, without = Socket("/ws/transcribe"), Socket("/ws/transcribe")
        for socket, name, detectors in ((with_it, "vera", [house.version.detector_id]), (without, "mia", [])):
            await socket.open()
            await socket.say({"token": tokens[name]})
            await socket.say({"start": {"detectors": detectors}})
            assert (await socket.hear())["ready"]
        for membership in (vera, mia):
            await sync_to_async(services.remove)(membership=membership, by=house.people["ada"])
        assert await with_it.hear() == 4404
        await without.say({"stop": True})  # it is nobody else's

    talk(conversation)


def test_who_joins_while_a_socket_is_open_has_what_is_shared(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page asks anew who is in an organization, a socket keeps whoever opened it."""
    asked: list[int] = []
    rita = Client()
    rita.force_login(house.people["rita"])
    cookie = (b"cookie", f"sessionid={rita.cookies['sessionid'].value}".encode())

    async def looked(consumer: JobsConsumer) -> None:
        asked.append(await Detector.objects.visible_to(consumer.user).acount())
        await consumer.send_json({"looked": len(asked)})

    async def message(consumer: JobsConsumer, text_data: str | None, bytes_data: bytes | None) -> None:
        await looked(consumer)

    monkeypatch.setattr(JobsConsumer, "begin", looked)
    monkeypatch.setattr(JobsConsumer, "message", message)

    async def conversation() -> None:
        socket = Socket("/ws/jobs")
        socket.end.scope["headers"].append(cookie)
        assert await socket.open()
        await socket.hear()
        await Membership.objects.acreate(organization=house.organization, user=house.people["rita"], role=Role.VIEWER)
        await socket.say({})
        await socket.hear()

    talk(conversation)
    assert asked == [0, 1]
