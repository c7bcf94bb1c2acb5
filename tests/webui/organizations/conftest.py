"""An organization with a person of every role, and things that one of them has shared with it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.detector_versions import make_version
from tests.support.organization_house import House, person
from tests.support.ready_recordings import ready_recording
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.services import save_sample
from webui.organizations import services
from webui.organizations.models import Membership, Role

INSIDE = {"ada": Role.OWNER, "mia": Role.MEMBER, "sam": Role.MEMBER, "vera": Role.VIEWER, "dora": Role.VIEWER}


@pytest.fixture
def house(owner: User) -> House:
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
