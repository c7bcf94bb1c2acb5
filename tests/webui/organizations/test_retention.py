"""Recordings that stay shared with an organization for some days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from core.errors import HarkError
from tests.webui.organizations.conftest import House
from webui.accounts.models import AuditEntry
from webui.audio.models import Recording
from webui.jobs.models import Job
from webui.organizations import services

pytestmark = pytest.mark.django_db


def test_recordings_are_withdrawn_when_they_are_old_enough(house: House) -> None:
    recordings = Recording.objects.filter(pk=house.recording.pk)
    recordings.update(created_at=timezone.now() - timedelta(days=8))
    assert services.withdraw_what_is_old() == 0, "it is off until an owner says a number"
    services.set_retention(organization=house.organization, recordings_days=9)
    assert services.withdraw_what_is_old() == 0
    services.set_retention(organization=house.organization, recordings_days=7)
    assert services.withdraw_what_is_old() == 1
    assert services.withdraw_what_is_old() == 0
    recording = recordings.get()
    assert recording.user == house.sam and recording.organization is None and (recording.path / "audio.flac").is_file()
    assert not Recording.objects.visible_to(house.people["mia"]).exists()
    assert not Job.objects.filter(spec__recording=str(recording.pk), organization=house.organization).exists()
    actions = AuditEntry.objects.filter(organization_id=house.organization.pk).values_list("action", flat=True)
    assert {"recording_withdrawn", "organization_retention"} <= set(actions)


def test_the_page(house: House) -> None:
    page = f"/organizations/{house.organization.pk}"
    client = house.client("ada")
    assert client.post(f"{page}/retention", {"recordings_days": "90"}).status_code == 302
    assert "stay shared for 90 days" in house.client("vera").get(page).content.decode()
    assert 'value="90"' in client.get(page).content.decode()
    for wrong in ("0", "soon", "40000"):
        assert client.post(f"{page}/retention", {"recordings_days": wrong}).status_code == 422
    assert house.client("mia").post(f"{page}/retention", {"recordings_days": "1"}).status_code == 403
    client.post(f"{page}/retention", {"recordings_days": ""})
    house.organization.refresh_from_db()
    assert house.organization.recordings_days is None


def test_what_is_too_old_is_not_shared(house: House) -> None:
    services.share(thing=house.recording, organization=None, by=house.sam)
    services.set_retention(organization=house.organization, recordings_days=7)
    house.organization.refresh_from_db()
    Recording.objects.filter(pk=house.recording.pk).update(created_at=timezone.now() - timedelta(days=8))
    house.recording.refresh_from_db()
    with pytest.raises(HarkError, match="7 days after they were made"):
        services.share(thing=house.recording, organization=house.organization, by=house.sam)
