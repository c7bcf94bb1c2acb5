"""Every URL with an id in it, requested by everybody who has no access."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from django.test import Client

from tests.support.detector_versions import address, body
from tests.support.organization_house import House, state
from tests.support.urls import URLS, filled
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.services import save_sample
from webui.organization_management.services import remove
from webui.recordings.models import Recording

pytestmark = pytest.mark.django_db

WITH_ID = [row for row in URLS if "_id>" in row[1] and row[0] != "trainer:device_file"]
OF_USERS = {name for name, route in WITH_ID if route.startswith("/account/")}  # only for the owner of the installation
# Users decide these for themselves.
OWN = {"organizations:leave"}
# GET requests that all members, viewers included, may send.
READ = {
    "recordings:audio", "recordings:export", "recordings:original", "recordings:recording", "recordings:so_far",
    "recordings:summary", "recordings:waveform", "recordings:words", "jobs:detail", "jobs:events", "jobs:over",
    "listening:try", "organizations:organization", "trainer:bundle", "trainer:compare", "trainer:detector",
    "trainer:file", "trainer:use", "trainer:version",
}  # fmt: skip
# POST requests that change something and that members may send.
CHANGED_BY_MEMBERS = {
    "recordings:again", "recordings:assign", "recordings:join", "recordings:replace", "recordings:undo",
    "recordings:detect_speakers", "recordings:polished", "recordings:rename", "recordings:retry",
    "recordings:segment", "recordings:speakers", "recordings:summary", "recordings:translate", "jobs:cancel",
    "jobs:retry", "listening:mark", "trainer:compare", "trainer:make_current", "trainer:note",
    "trainer:retrain",
}  # fmt: skip
# Decisions of the object's user, or of an owner of the organization.
CHANGED_BY_ITS_USER = {
    "recordings:delete", "recordings:forget_word", "recordings:minable", "recordings:revoke",
    "recordings:share", "listening:wakes", "trainer:address", "trainer:delete", "trainer:delete_version",
}  # fmt: skip
CHANGED_BY_OWNERS = {
    "organizations:delete", "organizations:invite", "organizations:quota", "organizations:remove",
    "organizations:rename", "organizations:retention", "organizations:revoke", "organizations:role",
}  # fmt: skip
SENT = {  # what would be a good form; other fields are ignored
    "name": "Harbour", "organization": "", "role": "owner", "speaker": "S1", "text": "another text", "version": "1",
    "decision": "discard", "start_s": "0", "end_s": "1", "verdict": "missed", "days": "7", "word": "lantern",
    "served": "public", "allowed": "1", "question": "where?", "disk_gb": "1",
}  # fmt: skip


def ask(client: Client, house: House, method: str, route: str) -> Any:
    return getattr(client, method)(filled(route, house.ids()), SENT if method == "post" else {})


def text(answer: Any) -> bytes:
    return b"" if answer.streaming else answer.content


def test_every_url_is_classified_by_role(house: House) -> None:
    names = {name for name, _route in WITH_ID}
    known = READ | CHANGED_BY_MEMBERS | CHANGED_BY_ITS_USER | CHANGED_BY_OWNERS
    assert known <= names
    # The others read with POST, concern objects that are never shared, or are pages for the organization's owners.
    rest = {
        "recordings:ask_one", "recordings:upload", "recordings:done", "listening:audio",
        "listening:decide", "listening:file", ":clip", "trainer:plan", "trainer:samples", "organizations:export",
        "organizations:leave", "organizations:log", "organizations:share_detector", "organizations:share_recording",
        "organizations:use",
    }  # fmt: skip
    others = {name for name in names - known - OF_USERS if not name.startswith(("compatibility:", "library:"))}
    assert others == rest, "list here who may use a new URL"


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("who", ["otto", "rita"])
def test_non_members_get_404(house: House, who: str, method: str) -> None:
    before, client = state(house), house.client(who)
    for name, route in WITH_ID:
        answer = ask(client, house, method, route)
        allowed = (403, 404, 405) if name in OF_USERS or name.startswith("compatibility:") else (404, 405)
        assert answer.status_code in allowed, (name, answer.status_code)
        assert b"hey compass" not in text(answer) and b"Harbour" not in text(answer), name
    assert state(house) == before


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_deactivated_member_must_sign_in(house: House, method: str) -> None:
    before, client = state(house), house.client("dora")
    for name, route in WITH_ID:
        answer = ask(client, house, method, route)
        asked = answer.status_code in (302, 303) and answer["Location"].startswith("/account/login")
        assert asked or answer.status_code in (401, 405), (name, answer.status_code)
    assert state(house) == before


def test_the_installations_owner_sees_no_contents(house: House, owners: Client) -> None:
    for name, route in WITH_ID:
        answer = ask(owners, house, "get", route)
        if not name.startswith(("accounts:", "organizations:")):
            assert answer.status_code in (404, 405), name
        assert b"hey compass" not in text(answer) and b"meeting.wav" not in text(answer), name
    assert owners.get(f"/organizations/{house.organization.pk}").status_code == 200
    assert owners.get(f"/organizations/{house.organization.pk}/export.json").status_code == 403


@pytest.mark.parametrize("who", ["vera", "mia", "ada"])
def test_members_can_read_shared_things(house: House, who: str) -> None:
    before, client = state(house), house.client(who)
    for name, route in WITH_ID:
        if name in READ:
            answer = ask(client, house, "get", route)
            assert answer.status_code == 200 or name == "trainer:detector", (name, answer.status_code)
    assert state(house) == before
    home = client.get("/").text
    assert f'href="/detectors/{house.version.detector_id}"' in home and "Harbour" in home
    assert b"meeting.wav" in client.get("/recordings/").content and b"Harbour" in client.get("/recordings/").content
    assert b"lantern" in client.get("/recordings/search?q=lantern").content


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_viewer_can_change_nothing(house: House, method: str) -> None:
    before, client = state(house), house.client("vera")
    for name, route in WITH_ID:
        if name not in OWN:
            answer = ask(client, house, method, route)
            assert answer.status_code < 500, name
            if method == "post" and name in CHANGED_BY_MEMBERS | CHANGED_BY_ITS_USER | CHANGED_BY_OWNERS:
                assert answer.status_code == 403, (name, answer.status_code)
            assert state(house) == before, name


def test_a_member_can_change_only_shared_things(house: House) -> None:
    client, refused = house.client("mia"), CHANGED_BY_ITS_USER | CHANGED_BY_OWNERS
    before = state(house)
    for name, route in WITH_ID:
        if name in refused:
            assert ask(client, house, "post", route).status_code == 403, name
    assert state(house) == before
    for name, route in sorted(WITH_ID, key=lambda row: row[0] == "recordings:again"):  # while that goes on, others wait
        if name in CHANGED_BY_MEMBERS:
            assert ask(client, house, "post", route).status_code not in (403, 404), name
    after = Recording.objects.get()
    assert after.name == "Harbour" and after.version > house.recording.version
    assert set(Job.objects.values_list("user__username", flat=True)) == {"sam"}, (
        "jobs use the data folder of the object's user"
    )
    assert set(Job.objects.values_list("organization__name", flat=True)) == {"Harbour"}
    # The voice, the link and the words are sam's, including those in fields that a member may send.
    said = {"speaker": "S1", "name": "Mia", "remember": "S1", "consent": "S1"}
    assert client.post(f"/recordings/{after.pk}/speakers", said).status_code == 403


def test_pages_hide_what_only_the_user_may_see(house: House) -> None:
    version = house.version
    own = house.client("sam")
    address = f"/detectors/{version.detector_id}/1"
    for name in ("vera", "mia", "ada"):
        client = house.client(name)
        page = client.get(address).text
        assert version.token not in page, "the URL for devices would still work after a removal"
        assert f"/detectors/{version.detector_id}/delete" not in page and "/wakes" not in page
        assert ("/retrain" in page) == (name != "vera")
        page = client.get(f"/recordings/{house.recording.pk}").text
        assert "/minable" not in page and "/delete" not in page and "/share" not in page.replace("/shared", "")
        assert ("data-change" in page and "/again" in page) == (name != "vera")
    page = own.get(address).text
    assert f"/detectors/{version.detector_id}/delete" in page and "/wakes" in page and "/retrain" in page
    page = own.get(f"/recordings/{house.recording.pk}").text
    assert "/minable" in page and "/delete" in page and "/share" in page and "data-change" in page


def test_a_mark_is_visible_to_both_until_the_membership_ends(house: House) -> None:
    mia = house["mia"]
    mark = save_sample(user=mia, version=house.version, verdict="missed", audio=np.full(16_000, 0.1, np.float32))
    assert mark.user == house.sam and mark.path.is_relative_to(user_data(house.sam))
    client = house.client("mia")
    assert f"/inbox/{mark.pk}" in client.get("/inbox").text
    assert client.get(f"/api/v1/inbox/{mark.pk}").status_code == 200
    assert client.get(f"/api/v1/inbox/{house.sample.pk}").status_code == 404, "marks of others are not shared"
    assert house.client("sam").get("/api/v1/inbox").json()["total"] == 2
    remove(membership=house.membership("mia"), by=mia)
    assert client.get(f"/api/v1/inbox/{mark.pk}").status_code == 404
    assert house.client("sam").get("/api/v1/inbox").json()["total"] == 2


def test_the_dataset_hides_text_and_speaker_of_people_from_others(house: House) -> None:
    table = user_data(house.sam) / "jobs" / house.version.path.name / "clips.csv"
    with table.open("a") as rows:
        rows.write("8,clips/cd/cdef.flac,0,plain_negative,corpus,,anna,train,our secret project,private,2.5,1\n")
        rows.write("9,clips/cd/cdeg.flac,1,positive,mined,,anna,train,hey compass,private,0.5,1\n")

    def read_by(name: str) -> list[list[str]]:
        answer = house.client(name).get(address("file", house.version, "dataset.jsonl"))
        return [[row["text"], row["speaker"]] for row in map(json.loads, body(answer).decode().splitlines())]

    spoken = ["héy, compass", "f3"]
    assert read_by("sam") == [spoken, ["our secret project", "anna"], ["hey compass", "anna"]]
    assert read_by("vera") == read_by("mia") == [spoken, ["", ""], ["", ""]]
