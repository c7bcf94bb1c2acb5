"""The quota of an organization: settings, refusals, and the weekly use."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.support.organization_house import House
from tests.support.refusals import refuses
from tests.support.sounds import sound
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job, Usage
from webui.jobs.quota import Limits, check_minutes, check_room, seconds_left, set_quota, take_minutes
from webui.jobs.services import submit
from webui.organization_management import services, use_of
from webui.organizations.models import Membership, Organization

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


def limit(house: House, *, disk: int | None = None, jobs: int | None = None, minutes: int | None = None) -> None:
    Organization.objects.filter(pk=house.organization.pk).update(
        disk_bytes=disk, jobs_a_day=jobs, minutes_a_month=minutes
    )


def a_job(user: User, number: int = 0) -> Job:
    return submit(user=user, kind="plan", title="p", spec={"phrase": f"hey {number}"})


def test_jobs_of_all_members_share_the_quota(house: House, owner: User) -> None:
    limit(house, jobs=2)
    a_job(house["mia"])
    a_job(house["vera"])
    for name in ("mia", "ada", "sam"):
        with refuses(429, match="Your organization has used all its jobs") as caught:
            a_job(house[name], 2)
        assert caught.value.status == 429 and "Harbour" in caught.value.why
    a_job(house["otto"], 2)
    a_job(owner, 2)
    Usage.objects.update(day=timezone.now().date() - timedelta(days=1))
    a_job(house["mia"], 3)


def test_minutes_of_all_members_share_the_quota(house: House) -> None:
    limit(house, minutes=10)
    mia = house["mia"]
    take_minutes(house["vera"], 8 * 60)
    assert seconds_left(mia) == pytest.approx(120 - 3), "sam's recording has three seconds"
    check_minutes(mia, 60)
    with refuses(429, match="10 min a month, with 1 min"):
        check_minutes(mia, 180)
    set_quota(mia, Limits(None, None, 1))
    assert seconds_left(mia) == 60
    client = house.client("vera")
    take_minutes(mia, 120)
    answer = client.post("/recordings/upload", {"audio": sound()}, headers=JSON)
    what = "Your organization does not have enough recording minutes left."
    assert answer.status_code == 429 and answer.json()["what"] == what
    assert seconds_left(house["otto"]) is None


def test_disk_space_of_all_members_shares_the_quota(house: House) -> None:
    limit(house, disk=50_000_000)
    check_room(house["mia"], 1_000_000)
    file = user_data(house["vera"]) / "audio" / "x"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 100_000)
    with refuses(507, match="storage quota of your organization"):
        check_room(house["mia"], 49_900_000)
    limit(house, disk=60_000)
    with refuses(507):
        check_room(house["ada"])
    check_room(house["otto"], 49_900_000)


def test_usage_before_joining_does_not_count(house: House) -> None:
    otto = house["otto"]
    Usage.objects.create(user=otto, day=timezone.now().date() - timedelta(days=1), jobs=5, seconds=3600)
    joined = Membership.objects.create(organization=house.organization, user=otto, role="member")
    assert not [row for row in use_of.by_week(house.organization) for p in row["people"] if p["name"] == "otto"]
    Membership.objects.filter(pk=joined.pk).update(joined_at=timezone.now() - timedelta(days=2))
    (week, *_more) = [row for row in use_of.by_week(house.organization) if "otto" in str(row["people"])]
    assert {p["name"]: (p["hours"], p["jobs"]) for p in week["people"]}["otto"] == (1.0, 5.0)


def test_only_owners_set_the_quota(house: House, owner: User) -> None:
    ada, organization = house["ada"], house.organization
    for name in ("mia", "vera", "otto"):
        with refuses(403):
            services.set_quota(organization=organization, limits=Limits(1, 2, 3), by=house[name])
    services.set_quota(organization=organization, limits=Limits(0, 5, None), by=ada)
    assert (organization.disk_bytes, organization.jobs_a_day, organization.quota_is_fixed) == (None, 5, False)
    services.set_quota(organization=organization, limits=Limits(None, 3, None), by=owner)
    assert organization.jobs_a_day == 3 and organization.quota_is_fixed
    with refuses(403):
        services.set_quota(organization=organization, limits=Limits(None, 9, None), by=ada)
    services.set_quota(organization=organization, limits=Limits(None, None, None), by=owner)
    services.set_quota(organization=organization, limits=Limits(None, 9, None), by=ada)
    assert organization.jobs_a_day == 9


def test_the_quota_is_set_and_shown_on_the_page(house: House, owners: Client) -> None:
    at = f"/organizations/{house.organization.pk}"
    ada = house.client("ada")
    sent = {"disk_gb": "2.5", "jobs_a_day": "20", "minutes_a_month": ""}
    assert ada.post(f"{at}/quota", sent).status_code == 302
    page = ada.get(at).text
    assert 'value="2.5"' in page and 'value="20"' in page and "Used by all members" in page
    assert ada.post(f"{at}/quota", {"jobs_a_day": "-1"}).status_code == 422
    assert owners.post(f"{at}/quota", sent).status_code == 302
    page = ada.get(at).text
    assert "The owner of Hark has set this quota." in page and f'action="{at}/quota"' not in page
    assert ada.post(f"{at}/quota", sent).status_code == 403
    assert "Used by all members" not in house.client("mia").get(at).text


def test_usage_is_shown_by_week(house: House) -> None:
    take_minutes(house["vera"], 5400, 3)
    a_job(house["mia"])
    old = timezone.now().date() - timedelta(weeks=use_of.WEEKS + 1)
    Usage.objects.create(user=house["ada"], day=old, jobs=7)
    Membership.objects.update(joined_at=timezone.now() - timedelta(days=365))
    (week,) = use_of.by_week(house.organization)
    today = timezone.now().date()
    assert week["week"] == today - timedelta(days=today.weekday())
    people = {row["name"]: row for row in week["people"]}
    assert people["vera"]["hours"] == 1.5 and people["vera"]["speakers"] == 3 and people["mia"]["jobs"] == 1
    assert week["speakers"] == 3 + 2, "sam's recording has two speakers"
    page = house.client("ada").get(f"/organizations/{house.organization.pk}/use").text
    assert "vera" in page and "1.50" in page
    assert (
        "1,50"
        in house.client("ada")
        .get(f"/organizations/{house.organization.pk}/use", headers={"Accept-Language": "de"})
        .text
    )


def test_the_installations_owner_sees_usage_of_all_organizations(house: House, owners: Client) -> None:
    take_minutes(house["otto"], 3600)
    page = owners.get("/account/users/use").text
    assert "Harbour" in page and "Elsewhere" in page and "otto" in page and "1.00" in page
    assert house.client("ada").get("/account/users/use").status_code == 403
