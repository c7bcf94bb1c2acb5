"""Deletion of an account: immediate effects, removed data, permissions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.http import Http404
from django.test import Client
from django.utils import timezone

from db.db_api import Library
from tests.support.detector_versions import make_version
from tests.support.library_server import LibraryServer
from tests.support.portal_jobs import claimed
from tests.support.portal_users import PASSWORD, browser_of
from webui.account_data.deletion import delete_account, finish_deletions
from webui.accounts.models import AuditEntry, User
from webui.accounts.services import create_token, create_user, issue_pair
from webui.accounts.services import digest as digest_of
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Passage, Recording, Share
from webui.trainer.models import Detector, Version
from webui.trainer.services import served_version
from webui.webhooks import services as webhooks
from webui.webhooks.models import Delivery, Webhook


def wait_over() -> None:
    User.objects.exclude(deletion_asked_at=None).update(deletion_asked_at=timezone.now() - timedelta(minutes=1))


@pytest.fixture
def folder(other: User, portal: Path) -> Path:
    """The data folder of a user with one of everything."""
    folder = portal / "users" / str(other.pk)
    (folder / "audio" / "x").mkdir(parents=True)
    (folder / "audio" / "x" / "audio.flac").write_bytes(b"what was said")
    make_version(other, folder)
    recording = Recording.objects.create(user=other, name="talk", folder="audio/x")
    Passage.objects.create(recording=recording, number=0, start_s=0, end_s=1, text="a secret word")
    Share.objects.create(recording=recording, digest=digest_of("token"), expires_at=timezone.now() + timedelta(days=1))
    hook, _secret = webhooks.add(user=other, url="https://example.org/x", events=["job.done"])
    webhooks.ping(webhook=hook)
    jobs.submit(user=other, kind="plan", title="p", spec={"phrase": "hey"})
    return folder


def test_deletion_ends_access_immediately_and_removes_files_later(
    others: Client, owner: User, other: User, folder: Path
) -> None:
    _token, text = create_token(user=other, name="ci", scopes=["read"])
    access = issue_pair(user=other).access
    elsewhere = browser_of(other)
    version = Version.objects.get(detector__user=other)
    key: dict[str, Any] = {"detector_id": version.detector_id, "number": version.number, "key": version.token}
    assert served_version(**key) == version
    answer = others.post("/account/delete", {"delete-password": PASSWORD})
    assert answer.status_code == 302 and answer["Location"] == "/account/login"
    assert others.get("/account/").status_code == 302 and elsewhere.get("/account/").status_code == 302
    for bearer in (text, access):
        assert Client().get("/api/v1/me", headers={"Authorization": f"Bearer {bearer}"}).status_code == 401
    assert others.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 401
    assert Client().get("/recordings/shared/token").status_code == 410
    with pytest.raises(Http404):
        served_version(**key)
    assert not Webhook.objects.exists() and not Delivery.objects.exists()
    assert Job.objects.get(user=other, kind="plan").state == Job.State.CANCELLED
    assert create_user(username="oscar", password=None, email="oscar@example.org").pk != other.pk

    assert finish_deletions() == 0 and folder.exists()  # an open connection may still write
    wait_over()
    assert finish_deletions() == 1
    assert not folder.exists() and not User.objects.filter(pk=other.pk).exists()
    for model in (Recording, Passage, Share, Detector, Job):
        assert not model.objects.exists()
    assert AuditEntry.objects.filter(action="user_deleted", about_name="oscar", by_name="oscar").exists()
    assert finish_deletions() == 0


def test_deletion_removes_a_library_on_a_server(
    owner: User, other: User, folder: Path, on_server: LibraryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library(folder).close()
    called = on_server.called(folder)
    delete_account(user=other)
    wait_over()
    monkeypatch.setattr("db.postgresql.RESTARTS_S", 0.0)
    monkeypatch.setenv("DATABASE_URL", "postgresql://hark@127.0.0.1:1/hark")
    assert finish_deletions() == 0 and folder.exists(), "the deletion is retried once the server is back"
    monkeypatch.setenv("DATABASE_URL", on_server.url)
    assert finish_deletions() == 1 and not folder.exists()
    assert called not in on_server.libraries()


def test_deletion_waits_for_a_running_job(owner: User, other: User, folder: Path) -> None:
    job = claimed(Job.objects.get(user=other, kind="plan"))
    delete_account(user=other)
    wait_over()
    assert finish_deletions() == 0 and folder.exists()
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLING
    jobs.finish(job, Job.State.CANCELLED)
    assert finish_deletions() == 1 and not folder.exists()


def test_deletion_needs_the_password_and_limits_guesses(others: Client, other: User) -> None:
    for _ in range(5):
        answer = others.post("/account/delete", {"delete-password": "wrong"})
        assert answer.status_code == 422 and "The password is wrong." in answer.text
    answer = others.post("/account/delete", {"delete-password": PASSWORD})
    assert answer.status_code == 429 and "Too many failed sign-ins." in answer.text
    other.refresh_from_db()
    assert other.is_active and other.deletion_asked_at is None


def test_the_owner_can_delete_users_but_cannot_be_deleted(
    owners: Client, owner: User, others: Client, other: User
) -> None:
    address = f"/account/users/{other.pk}/delete"
    assert owners.post(address, {"name": "olivia"}).status_code == 422
    assert others.post(address, {"name": "oscar"}).status_code == 403
    assert owners.post(address, {"name": "oscar"}).status_code == 302
    assert "deleted" not in owners.get("/account/users").text.split("<table")[1]
    for again in (f"/account/users/{other.pk}/link", f"/account/users/{other.pk}/active", address):
        assert owners.post(again, {"name": "oscar", "active": "1"}).status_code == 404
    for answer in (
        owners.post(f"/account/users/{owner.pk}/delete", {"name": "olivia"}),
        owners.post("/account/delete", {"delete-password": PASSWORD}),
        owners.delete(f"/api/v1/users/{owner.pk}"),
    ):
        assert answer.status_code == 422 and "cannot be deleted" in answer.text
    owner.refresh_from_db()
    assert owner.is_active


def test_the_api_can_delete_users(owners: Client, other: User) -> None:
    assert owners.delete(f"/api/v1/users/{other.pk}").status_code == 204
    assert owners.delete(f"/api/v1/users/{other.pk}").status_code == 404
    assert [user["name"] for user in owners.get("/api/v1/users").json()["items"]] == ["olivia"]
