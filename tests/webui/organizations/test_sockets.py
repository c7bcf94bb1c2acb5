"""Sockets about shared things: permissions, and that they end with the membership."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.constants import replace_in
from tests.support.organization_house import House
from tests.support.sockets import Program, no_socket_is_left, signed_in, token_of, watchful  # noqa: F401
from webui.jobs.consumers import JobsConsumer
from webui.jobs.models import Job
from webui.organization_management import services
from webui.organizations.models import Membership, Role
from webui.trainer.models import Detector

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("watchful")]


def test_a_jobs_socket_is_for_members_until_they_are_removed(house: House) -> None:
    tokens = {name: token_of(house[name], "read") for name in ("vera", "otto", "rita")}
    job = house.version.job_id
    Job.objects.filter(pk=job).update(state=Job.State.RUNNING)
    for name in ("otto", "rita"):
        socket = signed_in(f"/ws/jobs/{job}", tokens[name])
        assert socket.hear() == 4404
    socket = signed_in(f"/ws/jobs/{job}", tokens["vera"])
    socket.say({"after": 0})
    assert socket.hear()["job"]["title"] == "hey compass"
    services.remove(membership=house.membership("vera"), by=house["ada"])
    assert socket.hear() == 4404


def test_a_detectors_socket_is_for_members_until_it_is_withdrawn(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {name: token_of(house[name]) for name in ("vera", "otto")}

    class Silent:
        threshold, score_period_s = 0.5, 0.08

    monkeypatch.setattr("webui.listening.consumers.ListenConsumer.loaded", lambda consumer: Silent())
    detector = house.version.detector
    at = f"/ws/listen/{house.version.detector_id}/1"
    socket = signed_in(at, tokens["otto"])
    assert socket.hear() == 4404
    socket = signed_in(at, tokens["vera"])
    assert socket.hear()["ready"]
    socket.say({"mark": "missed", "time_s": 1.0})
    assert socket.hear()["error"]["what"] == "You cannot change this."
    services.share(thing=detector, organization=None, by=house.sam)
    assert socket.hear() == 4404


def test_removal_ends_live_transcription_with_a_shared_detector(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {name: token_of(house[name]) for name in ("vera", "mia")}
    silent = SimpleNamespace(engine="double", why="", samples=0, path=None, close=lambda: None)
    monkeypatch.setattr("webui.recordings.live.sessions.Session", lambda *arguments: silent)
    with_it, without = Program("/ws/transcribe"), Program("/ws/transcribe")
    for socket, name, detectors in ((with_it, "vera", [house.version.detector_id]), (without, "mia", [])):
        socket.open()
        socket.say({"token": tokens[name]})
        socket.say({"start": {"detectors": detectors}})
        assert socket.hear()["ready"]
    for name in ("vera", "mia"):
        services.remove(membership=house.membership(name), by=house["ada"])
    assert with_it.hear() == 4404
    without.say({"stop": True})  # it uses no shared detector


def test_joining_gives_open_sockets_access_to_shared_things(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page checks memberships each time, a socket keeps its user."""
    asked: list[int] = []

    async def looked(consumer: JobsConsumer) -> None:
        asked.append(await Detector.objects.visible_to(consumer.user).acount())
        await consumer.send_json({"looked": len(asked)})

    async def message(consumer: JobsConsumer, text_data: str | None, bytes_data: bytes | None) -> None:
        await looked(consumer)

    replace_in(JobsConsumer, monkeypatch, begin=looked, message=message)
    socket = Program("/ws/jobs", browser=house.client("rita"))
    assert socket.open()
    socket.hear()
    Membership.objects.create(organization=house.organization, user=house["rita"], role=Role.VIEWER)
    socket.say({})
    socket.hear()
    assert asked == [0, 1]
