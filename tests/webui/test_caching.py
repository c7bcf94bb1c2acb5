"""No browser and no proxy caches answers to a user."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.support.api_calls import a_token
from tests.support.earlier_recordings import ready_recording
from webui.accounts.models import User

pytestmark = pytest.mark.django_db


def test_pages_with_transcripts_are_not_cached(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    for address in (
        f"/recordings/{recording.pk}", f"/recordings/{recording.pk}/words", "/recordings/",
        "/recordings/search?q=compass",
        f"/recordings/{recording.pk}/export?format=srt", "/jobs/", "/library/", "/",
    ):  # fmt: skip
        answer = owners.get(address)
        assert answer.status_code == 200, address
        assert {"private", "no-store"} <= {part.strip() for part in answer["Cache-Control"].split(",")}, address


def test_api_responses_are_not_cached(client: Client, owner: User) -> None:
    recording = ready_recording(owner)
    for address in (f"/api/v1/recordings/{recording.pk}", f"/api/v1/recordings/{recording.pk}/transcript"):
        answer = client.get(address, headers=a_token(owner))
        assert answer.status_code == 200 and "no-store" in answer["Cache-Control"], address


def test_responses_with_their_own_cache_time_are_not_changed(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    assert "no-store" not in owners.get(f"/recordings/{recording.pk}/audio")["Cache-Control"]  # players seek in it
    assert "no-store" not in owners.get("/static/hark/hark.css").get("Cache-Control", "")


def test_audio_is_revalidated_each_time(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    address = f"/recordings/{recording.pk}/audio"
    answer = owners.get(address)
    parts = {part.strip() for part in answer["Cache-Control"].split(",")}
    assert {"private", "no-cache"} <= parts and not any(part.startswith("max-age") for part in parts)
    again = owners.get(address, headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    owners.post("/account/logout")
    assert owners.get(address, headers={"If-None-Match": answer["ETag"]}).status_code == 302  # to the sign-in


def test_public_endpoints_create_no_session(client: Client) -> None:
    answer = client.get("/health")
    assert answer.status_code in (200, 503) and answer.get("Cache-Control") != "private, no-store"
