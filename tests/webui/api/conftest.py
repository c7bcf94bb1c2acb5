"""A user of the API with one of everything, and ways to call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from db.records import NewClip
from tests.support.api_calls import World
from tests.support.detector_versions import make_version
from tests.support.earlier_recordings import ready_recording
from tests.support.sounds import noise
from webui.accounts.models import User
from webui.accounts.services import create_token, digest
from webui.api.organization_schemas import SECRET
from webui.jobs.models import Job, JobEvent
from webui.listening.services import allow_wakes, save_sample
from webui.organization_management import services as organizations
from webui.organizations.models import Invitation, Membership, Organization, Role
from webui.recordings.models import Recording
from webui.trainer.models import Detector
from webui.webhooks import services as webhooks


@pytest.fixture
def world(owner: User, portal: Path) -> World:
    """One of everything, owned by the owner."""
    version = make_version(owner, portal)
    allow_wakes(detector=version.detector, allowed=True)
    make_version(owner, portal, 2)  # a second version for comparisons
    Job.objects.filter(pk=version.job_id).update(result={"bundle": str(version.path / version.bundle)})
    spec = {"choices": {"phrase": "hey compass", "language": "en", "effort": "quick", "engines": []}}
    job = {"user": owner, "title": "hey compass", "spec": spec}
    plan = Job.objects.create(**job, kind="plan", queue="general", state=Job.State.DONE, result={"buckets": {}})
    error = {"what": "A.", "why": "B.", "what_to_do": "C."}
    other = Job.objects.create(**job, kind="train", queue="training", state=Job.State.FAILED, error=error)
    JobEvent.objects.create(job=other, event={"event": "artifact", "time": 1.0, "kind": "log", "path": "/srv/hark/log"})
    sample = save_sample(user=owner, version=version, verdict="missed", audio=noise(1.0))
    with Library(portal) as library:
        (clip_id,) = library.add_clips([NewClip(noise(0.5), "Hey, compass!", "hey compass", "en", "espeak")])
    token, text = create_token(user=owner, name="of the world", scopes=["read"])
    hook, _secret = webhooks.add(user=owner, url="https://example.org/hark", events=["job.done"])
    guest = User.objects.create_user("greta", "", None)
    recording = ready_recording(owner)
    voice = {"embedding": [1.0] + 255 * [0.0], "times": 1, "consent": True}
    voice["remembered_at"] = "2026-01-02T03:04:05+00:00"
    (portal / "voices.json").write_text(json.dumps({"schema": 1, "voices": {"Anna": voice}}))
    organization, invitation = _organizations(owner, guest, version.detector, recording)
    return World(
        owner, version, plan, other, sample, clip_id, token.pk, text, hook, guest, recording, organization, invitation
    )


def _organizations(
    owner: User, guest: User, detector: Detector, recording: Recording
) -> tuple[Organization, Invitation]:
    """Make the owner's organization, with the guest and an invitation, and the guest's.

    To the guest's the owner is invited with the link of the documentation's example.
    """
    made = organizations.create(user=owner, name="Of the world")
    Membership.objects.create(organization=made, user=guest, role=Role.OWNER)
    for thing in (detector, recording):
        organizations.share(thing=thing, organization=made, by=owner)
    invitation, _link = organizations.invite(organization=made, by=owner, role="viewer", base_url="http://x")
    theirs = organizations.create(user=guest, name="Of the guest")
    to_theirs, _link = organizations.invite(organization=theirs, by=guest, role="viewer", base_url="http://x")
    Invitation.objects.filter(pk=to_theirs.pk).update(digest=digest(SECRET))
    return made, invitation


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A second of noise as a file."""
    path = tmp_path / "recording.wav"
    soundfile.write(path, noise(1.0), SAMPLE_RATE)
    return path
