"""Pages of organizations: making one, inviting, joining, sharing, leaving, log, export, deletion."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from tests.support.organization_house import House, person
from webui.accounts.models import AuditEntry, User
from webui.organizations.models import Membership, Organization
from webui.recordings.models import Recording
from webui.trainer.models import Detector

pytestmark = pytest.mark.django_db


def link_on(page: str) -> str:
    found = re.search(r'value="(http://testserver/organizations/join/[\w-]+)"', page)
    return found.group(1)


def test_an_organization_is_created_shared_with_and_deleted(others: Client, other: User, owner: User) -> None:
    assert "You are not in an organization." in others.get("/organizations/").text
    assert others.post("/organizations/", {"name": ""}).status_code == 422
    made = others.post("/organizations/", {"name": "Harbour"})
    organization = Organization.objects.get()
    at = f"/organizations/{organization.pk}"
    assert made["Location"] == at and "Harbour" in others.get("/organizations/").text
    assert others.post("/organizations/", {"name": "harbour"}).status_code == 422

    page = others.post(f"{at}/invitations", {"role": "member"}, follow=True).text
    link = link_on(page)
    assert "/join/" not in others.get(at).text, "the link is shown once"
    assert others.post(f"{at}/invitations", {"role": "king"}).status_code == 422

    mia = Client()
    asked = mia.get(link)
    assert asked.status_code == 302 and asked["Location"].startswith("/account/login?next=/organizations/join/")
    mia.force_login(person("mia"))
    asked = mia.get(link)
    assert "Join Harbour?" in asked.text and asked["Referrer-Policy"] == "no-referrer"
    assert not Membership.objects.filter(user__username="mia").exists(), "opening the link does not join"
    assert mia.post(link)["Location"] == at and mia.get(link).status_code == 410

    detector = Detector.objects.create(user=User.objects.get(username="mia"), phrase="hey compass", language="en")
    shared = mia.post(f"/organizations/detectors/{detector.pk}", {"organization": str(organization.pk)})
    assert shared["Location"] == f"/detectors/{detector.pk}"
    listed = f'href="/detectors/{detector.pk}"'
    assert listed in others.get(at).text and listed in others.get("/").text
    wrong = mia.post(f"/organizations/detectors/{detector.pk}", {"organization": "999"})
    assert wrong.status_code == 404
    assert others.post(f"/organizations/detectors/{detector.pk}")["Location"] == "/"
    assert listed not in others.get("/").text

    assert others.post(f"{at}/rename", {"name": "Port"}).status_code == 302
    assert others.post(f"{at}/rename", {"name": "\n"}).status_code == 422
    user = User.objects.get(username="mia")
    assert others.post(f"{at}/people/{user.pk}/role", {"role": "owner"}).status_code == 302
    assert mia.post(f"{at}/people/{other.pk}/remove")["Location"] == at
    assert others.get(at).status_code == 404
    assert mia.post(f"{at}/leave").status_code == 422, "the last owner"
    assert mia.post(f"{at}/delete", {"name": "Harbour"}).status_code == 422, "the organization was renamed"
    assert mia.post(f"{at}/delete", {"name": "Port"})["Location"] == "/organizations/"
    assert not Organization.objects.exists()
    done = list(
        AuditEntry.objects.filter(organization_id=organization.pk).order_by("id").values_list("action", flat=True)
    )
    assert done == [
        "organization_made", "invited", "joined", "detector_shared", "detector_withdrawn", "organization_renamed",
        "role", "person_removed", "organization_deleted",
    ]  # fmt: skip


def test_a_recording_is_shared_on_its_page(house: House) -> None:
    sam, address = house.client("sam"), f"/organizations/recordings/{house.recording.pk}"
    page = sam.get(f"/recordings/{house.recording.pk}").text
    assert "It is shared with Harbour." in page and f'action="{address}"' in page
    assert sam.post(address)["Location"] == f"/recordings/{house.recording.pk}"
    assert Recording.objects.get().organization is None
    page = sam.get(f"/recordings/{house.recording.pk}").text
    assert f'<option value="{house.organization.pk}">Harbour</option>' in page
    assert sam.post(address, {"organization": str(house.organization.pk)}).status_code == 302
    page = house.client("vera").get(f"/recordings/{house.recording.pk}").text
    assert "sam shares it with Harbour." in page and f'action="{address}"' not in page


def test_a_member_can_leave(house: House) -> None:
    vera = house.client("vera")
    assert vera.post(f"/organizations/{house.organization.pk}/leave")["Location"] == "/organizations/"
    assert vera.get(f"/organizations/{house.organization.pk}").status_code == 404
    assert vera.get(f"/recordings/{house.recording.pk}").status_code == 404


def test_an_owner_sees_the_log_and_the_export(house: House, owners: Client) -> None:
    at = f"/organizations/{house.organization.pk}"
    ada = house.client("ada")
    page = ada.get(f"{at}/log").text
    assert "created the organization" in page and "shared a recording with the organization" in page
    assert "127.0.0.1" not in page and owners.get(f"{at}/log").status_code == 200
    answer = ada.get(f"{at}/export.json")
    rows = json.loads(answer.content)
    assert "attachment" in answer["Content-Disposition"]
    assert {row["user__username"] for row in rows["people"]} == {"ada", "mia", "sam", "vera", "dora"}
    assert [row["name"] for row in rows["recordings"]] == ["meeting.wav"]
    known = {field.name for field in Organization._meta.concrete_fields}
    assert set(rows["organization"]) == known and rows["organization"]["name"] == house.organization.name
    assert rows["invitations"] and "digest" not in answer.text
    assert AuditEntry.objects.filter(action="organization_exported").count() == 1
    # Each person's own log has what they did and what was done to them there.
    assert "removed from the organization" in house.client("rita").get("/account/log").text


def test_the_installations_owner_administers_without_reading(house: House, owners: Client) -> None:
    at = f"/organizations/{house.organization.pk}"
    assert "Harbour" in owners.get("/organizations/").text
    page = owners.get(at).text
    assert "ada" in page and "hey compass" not in page and "meeting.wav" not in page
    assert owners.post(f"{at}/invitations", {"role": "owner"}).status_code == 403, (
        "the owner of the installation can add nobody"
    )
    mia = house["mia"]
    assert owners.post(f"{at}/people/{mia.pk}/role", {"role": "owner"}).status_code == 302
    assert owners.post(f"{at}/people/{mia.pk}/remove").status_code == 302
    assert owners.post(f"{at}/delete", {"name": "Harbour"}).status_code == 302
    assert Recording.objects.get().user == house.sam


def test_management_pages_need_an_owner(house: House) -> None:
    at = f"/organizations/{house.organization.pk}"
    for name in ("mia", "vera"):
        client = house.client(name)
        page = client.get(at).text
        assert "Create an invitation" not in page and "/rename" not in page and "/delete" not in page
        for rest in ("/log", "/use", "/export.json"):
            assert client.get(at + rest).status_code == 403


def test_the_number_of_queries_is_constant(house: House, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        user = person(f"p{number}")
        Membership.objects.create(organization=house.organization, user=user, role="member")
        Recording.objects.create(user=user, name="r", folder="f", organization=house.organization)
    for name, most in (("vera", 12), ("ada", 20)):
        client = house.client(name)
        with django_assert_max_num_queries(most):
            assert client.get(f"/organizations/{house.organization.pk}").status_code == 200


def test_a_viewer_cannot_mark_detections(house: House) -> None:
    at = f"/detectors/{house.version.detector_id}/1"
    for name, offered in (("vera", False), ("mia", True), ("sam", True)):
        for address in (at, f"{at}/try"):
            page = house.client(name).get(address).text
            assert "data-listen" in page
            assert ("data-mark" in page) == ("data-missed" in page) == offered, (name, address)
