"""An organization with people of every role."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from django.core import serializers
from django.test import Client

from tests.support.portal_users import browser_of
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.models import Sample, WakeIntake
from webui.organizations.models import Invitation, Membership, Organization
from webui.recordings.models import Passage, Recording, Share
from webui.trainer.models import Detector, Version


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
