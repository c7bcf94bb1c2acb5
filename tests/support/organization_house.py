"""An organization with people of every role."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.core import serializers
from django.test import Client

from tests.support.detector_versions import make_version
from tests.support.portal_users import browser_of
from tests.support.ready_recordings import ready_recording
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.models import Sample, WakeIntake
from webui.listening.services import save_sample
from webui.organization_management import services
from webui.organizations.models import Invitation, Membership, Organization, Role
from webui.recordings.models import Passage, Recording, Share
from webui.trainer.models import Detector, Version

INSIDE = {"ada": Role.OWNER, "mia": Role.MEMBER, "sam": Role.MEMBER, "vera": Role.VIEWER, "dora": Role.VIEWER}


@dataclass
class House:
    """``sam`` has shared all of it with the organization that ``ada`` made.

    ``rita`` was in it and is removed, ``dora`` is deactivated, ``otto`` owns another organization.
    """

    organization: Organization
    elsewhere: Organization
    version: Version
    recording: Recording
    sample: Sample
    invitation: int
    people: dict[str, User] = field(default_factory=dict)

    def __getitem__(self, name: str) -> User:
        """Return the person of that name."""
        return self.people[name]

    def membership(self, name: str) -> Membership:
        """Return the person's membership of the house, as it is now."""
        return Membership.objects.select_related("user", "organization").get(user=self[name])

    def client(self, name: str) -> Client:
        """Return a browser with that person's session."""
        return browser_of(self[name])

    @property
    def sam(self) -> User:
        """The user of everything."""
        return self["sam"]

    def ids(self) -> dict[str, str]:
        """Return a value for each kind of id in a URL."""
        assert self.version.job_id is not None
        return {
            "organization_id": str(self.organization.pk),
            "invitation_id": str(self.invitation),
            "user_id": str(self["mia"].pk),
            "detector_id": str(self.version.detector_id),
            "number": "1",
            "recording_id": str(self.recording.pk),
            "sample_id": str(self.sample.pk),
            "job_id": str(self.version.job_id),
        }


def person(name: str) -> User:
    return User.objects.create_user(name, f"{name}@example.org", None)


def state(house: House) -> tuple[str, str]:
    """Return all rows of shared things and their users, and the files."""
    models: tuple[Any, ...] = (
        Organization, Membership, Invitation, Detector, Version, Recording, Passage, Share, Job, Sample, WakeIntake,
    )  # fmt: skip
    rows = [json.loads(serializers.serialize("json", model.objects.order_by("pk"))) for model in models]
    digest = hashlib.sha256()
    for path in sorted(user_data(house.sam).rglob("*")):
        if path.is_file() and not path.name.startswith("library.sqlite3"):
            digest.update(str(path).encode() + path.read_bytes())
    return json.dumps(rows), digest.hexdigest()


def make_house() -> House:
    """Make the house, its people, and what ``sam`` has shared with it."""
    people = {name: person(name) for name in (*INSIDE, "rita", "otto")}
    organization = services.create(user=people["ada"], name="Harbour")
    for name, role in (*INSIDE.items(), ("rita", Role.MEMBER)):
        if name != "ada":
            Membership.objects.create(organization=organization, user=people[name], role=role)
    elsewhere = services.create(user=people["otto"], name="Elsewhere")
    sam = people["sam"]
    version = make_version(sam, user_data(sam))
    recording = ready_recording(sam)
    sample = save_sample(user=sam, version=version, verdict="missed", audio=np.full(16_000, 0.1, np.float32))
    for thing in (version.detector, recording):
        services.share(thing=thing, organization=organization, by=sam)
    rita = Membership.objects.select_related("user", "organization").get(user=people["rita"])
    services.remove(membership=rita, by=people["ada"])
    User.objects.filter(pk=people["dora"].pk).update(is_active=False)
    invitation, _link = services.invite(organization=organization, by=people["ada"], role="member", base_url="http://x")
    version.refresh_from_db()
    recording.refresh_from_db()
    assert set(Job.objects.values_list("organization", flat=True)) == {organization.pk}
    return House(organization, elsewhere, version, recording, sample, invitation.pk, people)
