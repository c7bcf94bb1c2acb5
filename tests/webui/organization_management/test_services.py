"""Organizations: joining, permissions, and the effects of leaving and deleting on shared things."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.http import Http404
from django.utils import timezone

from core.errors import HarkError
from tests.support.detector_versions import make_version
from tests.support.organization_house import House, person
from tests.support.refusals import refuses
from webui.account_data.deletion import delete_account, finish_deletions
from webui.account_data.exporting import rows_of
from webui.accounts.models import AuditEntry, User
from webui.accounts.services import LinkGone, set_active
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.jobs.quota import Limits
from webui.listening.models import Sample
from webui.organization_management import services
from webui.organizations.access import owned, to_change, visible
from webui.organizations.models import Invitation, Membership, Organization, Role
from webui.recordings.models import Recording
from webui.recordings.reading.transcripts import search
from webui.trainer.models import Detector, Version
from webui.trainer.services import retrain

pytestmark = pytest.mark.django_db


def invited(house: House, role: str = "member") -> str:
    _made, link = services.invite(
        organization=house.organization, by=house["ada"], role=role, base_url="http://localhost"
    )
    return link.rpartition("/")[2]


def actions(house: House) -> list[str]:
    """Return the actions in the organization's log, oldest first."""
    rows = AuditEntry.objects.filter(organization_id=house.organization.pk).order_by("id")
    return list(rows.values_list("action", flat=True))


def test_roles_decide_who_sees_and_changes_shared_things(house: House, owner: User) -> None:
    expected = {"sam": "rco", "ada": "rc", "mia": "rc", "vera": "r", "dora": "", "rita": "", "otto": ""}
    for name, letters in expected.items():
        user = User.objects.get(username=name)
        for model in (Detector, Version, Recording, Job):
            for letter, rows in (
                ("r", model.objects.visible_to(user)),
                ("c", model.objects.editable_by(user)),
                ("o", model.objects.owned_by(user)),
            ):
                assert rows.exists() == (letter in letters), (name, model, letter)
        assert bool(search(user=user, query="harbour")) == ("r" in letters)
        assert Sample.objects.visible_to(user).exists() == (name == "sam"), "the inbox is not shared"
    assert not Detector.objects.visible_to(owner).exists(), "the owner of the installation is in no organization"


def test_shared_things_are_listed_once(house: House) -> None:
    assert Detector.objects.visible_to(house.sam).count() == Recording.objects.visible_to(house.sam).count() == 1
    Membership.objects.create(organization=house.elsewhere, user=house["mia"], role=Role.VIEWER)
    assert Detector.objects.visible_to(house["mia"]).count() == 1
    assert Detector.objects.editable_by(house["mia"]).count() == 1


def test_lookups_enforce_access_levels(house: House) -> None:
    for getter, may, may_not in (
        (visible, "sam ada mia vera", ""), (to_change, "sam ada mia", "vera"), (owned, "sam", "ada mia vera")
    ):  # fmt: skip
        for name in may.split():
            assert getter(Recording.objects.all(), house[name], pk=house.recording.pk) == house.recording
        for name in may_not.split():
            with refuses(403) as caught:
                getter(Recording.objects.all(), house[name], pk=house.recording.pk)
            assert caught.value.status == 403
        for name in ("rita", "otto"):
            with pytest.raises(Http404):
                getter(Recording.objects.all(), house[name], pk=house.recording.pk)


def test_an_invitation_works_once_within_a_week_if_its_maker_is_an_owner(house: House) -> None:
    secret, new = invited(house, "viewer"), person("nora")
    assert services.join(user=new, secret=secret) == house.organization
    assert house.membership("mia").role == "member" and new.memberships.get().role == "viewer"
    for gone in (secret, "nonsense", secret[:-1]):
        with pytest.raises(LinkGone):
            services.join(user=house["rita"], secret=gone)
    again = invited(house)
    with pytest.raises(HarkError, match="already"):
        services.join(user=new, secret=again)
    assert services.find_invitation(secret=again).used_at is None
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LinkGone):
        services.find_invitation(secret=again)

    by_ada = invited(house)
    services.set_role(membership=house.membership("mia"), role="owner")
    services.set_role(membership=house.membership("ada"), role="member")
    with pytest.raises(LinkGone):
        services.find_invitation(secret=by_ada)
    services.set_role(membership=house.membership("ada"), role="owner")
    assert services.find_invitation(secret=by_ada).invited_by == house["ada"]
    set_active(user=house["ada"], active=False)
    with pytest.raises(LinkGone):
        services.find_invitation(secret=by_ada)


def test_invitations_are_limited_and_revocable(house: House) -> None:
    *_others, secret = [invited(house) for _ in range(services.MAX_OPEN_INVITATIONS - 1)]  # in addition to the house's
    with pytest.raises(HarkError, match="was not created"):
        invited(house)
    for invitation in services.open_invitations(house.organization):
        services.revoke_invitation(invitation=invitation)
    with pytest.raises(LinkGone):
        services.find_invitation(secret=secret)
    assert actions(house)[-services.MAX_OPEN_INVITATIONS :] == services.MAX_OPEN_INVITATIONS * ["invitation_revoked"]
    with pytest.raises(HarkError, match="no such role"):
        invited(house, "king")


def test_names_are_validated_and_unique(house: House) -> None:
    for name in ("", "   ", "x" * 101, "a\u202eb", "harbour", " HARBOUR "):
        with pytest.raises(HarkError, match="cannot have that name"), transaction.atomic():
            services.create(user=house["otto"], name=name)
    with pytest.raises(IntegrityError), transaction.atomic():
        Organization.objects.create(name="harBour")
    services.rename(organization=house.organization, name="  Port  of call ")
    assert Organization.objects.get(pk=house.organization.pk).name == "Port of call"
    assert actions(house)[-1] == "organization_renamed"


def test_organizations_are_limited_per_user(house: House) -> None:
    for number in range(services.MAX_PER_USER - 1):  # in addition to the one that otto has
        services.create(user=house["otto"], name=f"Number {number}")
    with pytest.raises(HarkError, match="too many"):
        services.create(user=house["otto"], name="Another")
    with pytest.raises(HarkError, match="too many"):
        services.join(user=house["otto"], secret=invited(house))


def test_a_removed_persons_things_are_no_longer_shared(house: House) -> None:
    services.remove(membership=house.membership("sam"), by=house["ada"])
    for model in (Detector, Version, Recording, Job):
        assert model.objects.owned_by(house.sam).exists() and model.objects.visible_to(house.sam).exists()
        for name in ("ada", "mia", "vera"):
            assert not model.objects.visible_to(house[name]).exists(), (model, name)
    assert house.recording.path.exists() and house.version.path.exists()
    assert actions(house)[-1] == "person_removed"
    services.remove(membership=house.membership("vera"), by=house["vera"])
    assert actions(house)[-1] == "left"


def test_the_last_owner_cannot_leave_or_change_role(house: House) -> None:
    ada = house.membership("ada")
    for change in (
        lambda: services.remove(membership=ada, by=ada.user),
        lambda: services.set_role(membership=ada, role="member"),
    ):
        with pytest.raises(HarkError, match="needs an owner"):
            change()
    services.set_role(membership=house.membership("mia"), role="owner")
    services.remove(membership=ada, by=ada.user)
    assert list(house.organization.memberships.filter(role="owner").values_list("user__username", flat=True)) == ["mia"]


def test_roles_decide_who_shares_and_withdraws(house: House) -> None:
    mine = make_version(house["vera"], user_data(house["vera"]), phrase="hey vera").detector
    with refuses(403):  # a viewer
        services.share(thing=mine, organization=house.organization, by=house["vera"])
    with refuses(403):  # not in it
        services.share(thing=house.recording, organization=house.elsewhere, by=house.sam)
    for name in ("mia", "vera", "otto"):
        with refuses(403):
            services.share(thing=house.recording, organization=None, by=house[name])
    with refuses(403):  # an owner may withdraw, but not share with others
        services.share(thing=house.recording, organization=house.elsewhere, by=house["ada"])
    services.share(thing=house.recording, organization=None, by=house["ada"])
    services.share(thing=house.version.detector, organization=None, by=house.sam)
    for model in (Detector, Recording, Job):
        assert not model.objects.visible_to(house["ada"]).exists()
    assert actions(house)[-2:] == ["recording_withdrawn", "detector_withdrawn"]
    services.share(thing=house.recording, organization=house.organization, by=house.sam)
    services.share(thing=house.recording, organization=house.organization, by=house.sam)
    assert actions(house)[-2:] == ["detector_withdrawn", "recording_given"]


def test_jobs_and_versions_of_shared_things_are_visible(house: House) -> None:
    job = retrain(version=house.version)
    assert job.user == house.sam and job.organization == house.organization
    assert to_change(Job.objects.all(), house["mia"], pk=job.pk) == job
    private = Job.objects.create(user=house.sam, kind="plan", queue="general", title="hey private", spec={})
    assert not Job.objects.visible_to(house["ada"]).filter(pk=private.pk).exists()
    services.share(thing=house.version.detector, organization=None, by=house.sam)
    assert not Job.objects.visible_to(house["mia"]).filter(pk=job.pk).exists()


def test_deleting_an_organization_preserves_what_was_shared(house: House) -> None:
    services.delete(organization=Organization.objects.get(pk=house.organization.pk))
    assert Detector.objects.get().organization is None and Recording.objects.get().organization is None
    assert house.recording.path.exists() and not Membership.objects.filter(user=house.sam).exists()
    assert not Recording.objects.visible_to(house["ada"]).exists()
    assert not Invitation.objects.exists()
    assert actions(house)[-1] == "organization_deleted"


def test_a_deleted_account_leaves_its_organizations(house: House) -> None:
    delete_account(user=house["ada"])
    assert house.membership("mia").role == "owner", "the longest membership; members before viewers"
    delete_account(user=house.sam)
    for name in ("mia", "vera"):  # immediately, before the files are removed
        assert not Recording.objects.visible_to(house[name]).exists()
    delete_account(user=house["otto"])
    assert list(Organization.objects.values_list("name", flat=True)) == ["Harbour"], (
        "the other organization had no members left"
    )
    User.objects.exclude(deletion_asked_at=None).update(deletion_asked_at=timezone.now() - timedelta(minutes=1))
    assert finish_deletions() == 3 and not Detector.objects.exists()
    for name in ("mia", "vera", "dora"):
        delete_account(user=house[name])
    assert not Organization.objects.exists()


def test_an_accounts_export_says_what_is_shared(house: House) -> None:
    rows = rows_of(house.sam)
    assert [row["organization__name"] for row in rows["organizations"]] == ["Harbour"]
    assert rows["recordings"][0]["organization__name"] == rows["detectors"][0]["organization__name"] == "Harbour"
    assert rows_of(house["mia"])["recordings"] == [], "shared things of others are not exported"


def test_sharing_moves_no_files(house: House, portal: Path) -> None:
    before = sorted(path for path in portal.rglob("*") if path.is_file() and "portal" not in path.parts[-2:])
    services.share(thing=house.recording, organization=None, by=house.sam)
    services.share(thing=house.recording, organization=house.organization, by=house.sam)
    assert sorted(path for path in portal.rglob("*") if path.is_file() and "portal" not in path.parts[-2:]) == before
    assert house.recording.path.is_relative_to(user_data(house.sam))


def test_permissions_are_checked_again_when_changing(house: House) -> None:
    sam, ada = house.sam, house["ada"]
    seen_by_ada = Detector.objects.select_related("user", "organization").get(pk=house.version.detector_id)
    quay = services.create(user=sam, name="Quay")
    services.share(thing=house.version.detector, organization=quay, by=sam)
    with refuses(403):  # an owner of one organization cannot withdraw anything from another
        services.share(thing=seen_by_ada, organization=None, by=ada)
    assert Detector.objects.get().organization == quay
    mine = Version.objects.select_related("detector__user").get()
    services.share(thing=house.version.detector, organization=None, by=sam)
    assert retrain(version=mine).organization is None, "a job is shared only if its detector is"
    Recording.objects.all().delete()
    with pytest.raises(Http404):
        services.share(thing=house.recording, organization=None, by=sam)

    seen, before = house.organization, Limits(None, 5, None)
    services.set_quota(
        organization=Organization.objects.get(pk=seen.pk), limits=before, by=User.objects.get(is_owner=True)
    )
    with refuses(403):
        services.set_quota(organization=seen, limits=Limits(None, 9, None), by=ada)
    assert Organization.objects.get(pk=seen.pk).jobs_a_day == 5


def test_removing_a_person_twice_removes_them_once(house: House) -> None:
    first, second, third = house.membership("mia"), house.membership("mia"), house.membership("mia")
    services.remove(membership=first, by=house["ada"])
    with pytest.raises(Http404):
        services.remove(membership=second, by=house["mia"])
    for role in Role.values:
        with pytest.raises(Http404):
            services.set_role(membership=third, role=role)
    assert actions(house).count("person_removed") == 2  # of rita, and of mia
    assert "left" not in actions(house) and "role" not in actions(house)


def test_old_recordings_are_withdrawn(house: House) -> None:
    recordings = Recording.objects.filter(pk=house.recording.pk)
    recordings.update(created_at=timezone.now() - timedelta(days=8))
    assert services.withdraw_what_is_old() == 0, "retention is off by default"
    services.set_retention(organization=house.organization, recordings_days=9)
    assert services.withdraw_what_is_old() == 0
    services.set_retention(organization=house.organization, recordings_days=7)
    assert services.withdraw_what_is_old() == 1
    assert services.withdraw_what_is_old() == 0
    recording = recordings.get()
    assert recording.user == house.sam and recording.organization is None and (recording.path / "audio.flac").is_file()
    assert not Recording.objects.visible_to(house["mia"]).exists()
    assert not Job.objects.filter(spec__recording=str(recording.pk), organization=house.organization).exists()
    actions = AuditEntry.objects.filter(organization_id=house.organization.pk).values_list("action", flat=True)
    assert {"recording_withdrawn", "organization_retention"} <= set(actions)


def test_retention_is_set_on_the_page(house: House) -> None:
    page = f"/organizations/{house.organization.pk}"
    client = house.client("ada")
    assert client.post(f"{page}/retention", {"recordings_days": "90"}).status_code == 302
    assert "stay shared for 90 days" in house.client("vera").get(page).text
    assert 'value="90"' in client.get(page).text
    for wrong in ("0", "soon", "40000"):
        assert client.post(f"{page}/retention", {"recordings_days": wrong}).status_code == 422
    assert house.client("mia").post(f"{page}/retention", {"recordings_days": "1"}).status_code == 403
    client.post(f"{page}/retention", {"recordings_days": ""})
    house.organization.refresh_from_db()
    assert house.organization.recordings_days is None


def test_too_old_recordings_cannot_be_shared(house: House) -> None:
    services.share(thing=house.recording, organization=None, by=house.sam)
    services.set_retention(organization=house.organization, recordings_days=7)
    house.organization.refresh_from_db()
    Recording.objects.filter(pk=house.recording.pk).update(created_at=timezone.now() - timedelta(days=8))
    house.recording.refresh_from_db()
    with pytest.raises(HarkError, match="7 days after they were made"):
        services.share(thing=house.recording, organization=house.organization, by=house.sam)
