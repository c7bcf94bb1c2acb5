"""An organization with a person of every role, and things that one of them has shared with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from django.test import Client

from tests.support.detector_versions import make_version
from tests.webui.audio.conftest import ready_recording
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.audio.models import Recording
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.listening.services import keep_sample
from webui.organizations import services
from webui.organizations.models import Membership, Organization, Role
from webui.trainer.models import Version

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

    def client(self, name: str) -> Client:
        """Return a browser with that person's session."""
        client = Client()
        client.force_login(self.people[name])
        return client

    @property
    def sam(self) -> User:
        """The user of everything."""
        return self.people["sam"]

    def ids(self) -> dict[str, str]:
        """Return a value for each kind of id in an address."""
        assert self.version.job_id is not None
        return {
            "organization_id": str(self.organization.pk),
            "invitation_id": str(self.invitation),
            "user_id": str(self.people["mia"].pk),
            "detector_id": str(self.version.detector_id),
            "number": "1",
            "recording_id": str(self.recording.pk),
            "sample_id": str(self.sample.pk),
            "job_id": str(self.version.job_id),
        }


def person(name: str) -> User:
    return User.objects.create_user(name, f"{name}@example.org", None)


@pytest.fixture
def house(owner: User, portal: Path) -> House:
    """The house, with the installation's owner, who is in no organization."""
    people = {name: person(name) for name in (*INSIDE, "rita", "otto")}
    organization = services.create(user=people["ada"], name="Harbour")
    for name, role in (*INSIDE.items(), ("rita", Role.MEMBER)):
        if name != "ada":
            Membership.objects.create(organization=organization, user=people[name], role=role)
    elsewhere = services.create(user=people["otto"], name="Elsewhere")
    sam = people["sam"]
    version = make_version(sam, user_data(sam))
    recording = ready_recording(sam)
    sample = keep_sample(user=sam, version=version, verdict="missed", audio=np.full(16_000, 0.1, np.float32))
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
