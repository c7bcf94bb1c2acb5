"""What devices send: only where the owner has switched it on, so much a day, sorted, confirmed by a person."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.test import Client

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from pipeline.serving.sorting import Sorted
from pipeline.training.retraining import marked_audio
from tests.support.detector_versions import address, make_version
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.jobs.models import Job
from webui.listening import services
from webui.listening.models import Sample, WakeIntake
from webui.trainer.models import Version

PHRASE = "hey compass"


@pytest.fixture(autouse=True)
def sorter(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the recognizer says; a test of its own hears it at work."""
    said = {"kind": "unsure"}
    monkeypatch.setattr(services, "sort_wake", lambda phrase, language, audio: Sorted(said["kind"], "Hey, campus!"))
    return said


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """A detector whose owner has switched it on."""
    made = make_version(owner, portal)
    services.allow_wakes(detector=made.detector, allowed=True)
    return made


def wav(seconds: float = 1.5) -> io.BytesIO:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(file, noise, SAMPLE_RATE, format="WAV")
    file.seek(0)
    file.name = "wake.wav"
    return file


def send(user: User, version: Version, seconds: float = 1.5, scopes: tuple[str, ...] = ("wakes",), **more: Any) -> Any:
    """What a device does, which has nothing but a token."""
    count = user.api_tokens.count()
    token = create_token(user=user, name=f"kitchen {count}", scopes=scopes)[1]
    fields = {"kind": "wake", "score": "0.93", "device": "kitchen", **more}
    return Client().post(
        f"/api/v1/detectors/{version.detector_id}/wakes",
        {**fields, "audio": wav(seconds)},
        headers={"Authorization": f"Bearer {token}"},
    )


def test_it_is_off_until_the_owner_switches_it_on(owners: Client, owner: User, portal: Path) -> None:
    version = make_version(owner, portal)
    refused = send(owner, version)
    assert refused.status_code == 403 and "has not switched that on" in refused.json()["why"]
    assert Sample.objects.count() == 0
    page = owners.get(address("version", version)).content.decode()
    assert "send nothing" in page
    switch = f"/detectors/{version.detector_id}/wakes"
    owners.post(switch, {"allowed": "1"})
    assert send(owner, version).status_code == 201
    assert f"/api/v1/detectors/{version.detector_id}/wakes" in owners.get(address("version", version)).content.decode()
    owners.post(switch)
    assert send(owner, version).status_code == 403


def test_what_came_is_kept_and_sorted(owner: User, version: Version, sorter: dict[str, str]) -> None:
    sorter["kind"] = "other"
    said = send(owner, version, kind="near_miss", score="0.41").json()
    sample = Sample.objects.get(pk=said["id"])
    assert sample.path.is_file() and sample.seconds == pytest.approx(1.5)
    assert (said["kind"], said["device"], said["score"], said["version"]) == ("near_miss", "kitchen", 0.41, 1)
    assert (said["sorted_as"], said["text"], said["verdict"], said["state"]) == ("other", "Hey, campus!", "", "new")


def test_scope_and_owner(owner: User, other: User, version: Version, client: Client) -> None:
    assert send(owner, version, scopes=("read", "train")).status_code == 403
    assert send(other, version).status_code == 404
    assert send(owner, version, kind="something").status_code == 422
    assert send(owner, version, seconds=7.0).status_code == 422
    assert Sample.objects.count() == 0
    client.force_login(other)
    assert client.post(f"/detectors/{version.detector_id}/wakes", {"allowed": "1"}).status_code == 404
    token = create_token(user=owner, name="only wakes", scopes=["wakes"])[1]
    assert Client().get("/api/v1/inbox", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_so_many_a_day_and_so_many_that_wait(owner: User, version: Version, settings: Any) -> None:
    settings.WAKES_PER_DAY = 2
    assert [send(owner, version).status_code for _ in range(3)] == [201, 201, 429]
    WakeIntake.objects.update(day="2026-01-01")  # another day
    assert send(owner, version).status_code == 201
    settings.WAKES_PER_DAY, settings.WAKES_WAITING = 10, 3
    full = send(owner, version)
    assert full.status_code == 429 and "inbox is full" in full.json()["what"] and full["Retry-After"]
    services.discard(sample=Sample.objects.all()[0])
    assert send(owner, version).status_code == 201


def test_a_person_confirms_and_retraining_hears_it(owners: Client, owner: User, version: Version, portal: Path) -> None:
    heard, missed, wrong = (send(owner, version, kind=kind).json()["id"] for kind in ("wake", "near_miss", "wake"))
    page = owners.get("/inbox").content.decode()
    assert page.count("a device woke") == 2 and page.count("a device nearly woke") == 1
    assert "Hey, campus!" in page and "The phrase" in page and "Confirm these" not in page, "none is sure"
    owners.post(f"/inbox/{wrong}", {"decision": "take"}, headers={"Accept": "application/json"})
    assert Sample.objects.filter(state="taken").count() == 0, "nobody has said what it is"
    owners.post(f"/inbox/{heard}", {"decision": "phrase"})
    owners.post(f"/inbox/{missed}", {"decision": "phrase"})
    owners.post(f"/inbox/{wrong}", {"decision": "other"})
    with Library(portal) as library:
        marked = marked_audio(library, PHRASE, "en")
    assert (len(marked.misses), len(marked.false_alarms)) == (2, 1)


def test_all_that_are_sure_at_once(
    owners: Client, owner: User, version: Version, portal: Path, sorter: dict[str, str]
) -> None:
    for kind in ("phrase", "other", "other", "unsure"):
        sorter["kind"] = kind
        send(owner, version)
    assert "1 are the phrase, 2 are not" in owners.get("/inbox").content.decode()
    owners.post("/inbox/confirm")
    assert Sample.objects.get(state="new").sorted_as == "unsure"
    with Library(portal) as library:
        marked = marked_audio(library, PHRASE, "en")
    assert (len(marked.misses), len(marked.false_alarms)) == (1, 2)
    assert "Confirm these" not in owners.get("/inbox").content.decode()


def test_programs_confirm_too(owners: Client, owner: User, version: Version) -> None:
    sample = send(owner, version).json()["id"]
    assert owners.post(f"/api/v1/inbox/{sample}/take").status_code == 422
    taken = owners.post(f"/api/v1/inbox/{sample}/take?phrase=false").json()
    assert (taken["verdict"], taken["state"]) == ("false_alarm", "taken")


def test_others_confirm_nothing_of_mine(client: Client, owner: User, other: User, version: Version) -> None:
    sample = send(owner, version).json()["id"]
    Sample.objects.update(sorted_as="other")
    client.force_login(other)
    assert client.post(f"/inbox/{sample}", {"decision": "phrase"}).status_code == 404
    client.post("/inbox/confirm")
    assert Sample.objects.get().state == "new"


def test_what_was_confirmed_can_be_trained_with_right_there(
    owners: Client, owner: User, version: Version, sorter: dict[str, str]
) -> None:
    sorter["kind"] = "phrase"
    for _ in range(2):
        send(owner, version)
    assert "data-retrain" not in owners.get("/inbox").content.decode(), "nobody has confirmed it"
    shown = owners.post("/inbox/confirm", follow=True).content.decode()
    retrain = address("version", version) + "/retrain"
    assert f'action="{retrain}"' in shown and "2 recordings are new for “hey compass”." in shown
    answer = owners.post(retrain)
    job = Job.objects.get(kind="retrain")
    assert answer["Location"] == f"/jobs/{job.pk}" and job.spec["phrase"] == PHRASE
    shown = owners.get("/inbox").content.decode()
    assert "is being retrained" in shown and "Retrain with it" not in shown
    Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)
    assert "2 recordings are new" in owners.get("/inbox").content.decode(), "no version has heard them"
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    assert "data-retrain" not in owners.get("/inbox").content.decode()
    send(owner, version)
    owners.post(f"/inbox/{Sample.objects.latest('id').pk}", {"decision": "phrase"})
    assert "1 recording is new" in owners.get("/inbox").content.decode()
