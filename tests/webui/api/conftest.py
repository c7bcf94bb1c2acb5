"""A user of the API with one of everything, and ways to call it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import soundfile
from django.test import Client

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from db.records import NewClip
from tests.support.detector_versions import make_version
from tests.support.sounds import noise, upload
from tests.webui.compatibility.conftest import ready_recording
from webui.accounts.models import User
from webui.accounts.services import SCOPES, create_token, digest, issue_pair
from webui.api import webhooks
from webui.api.models import Webhook
from webui.api.organization_schemas import SECRET
from webui.audio.models import Recording
from webui.jobs.models import Job, JobEvent
from webui.listening.models import Sample
from webui.listening.services import allow_wakes, keep_sample
from webui.organizations import services as organizations
from webui.organizations.models import Invitation, Membership, Organization, Role
from webui.trainer.models import Detector, Version

Call = Callable[..., Any]


@dataclass
class World:
    """The owner's things."""

    user: User
    version: Version
    plan: Job
    failed: Job
    sample: Sample
    clip: int
    token: int
    token_text: str
    webhook: Webhook
    guest: User
    recording: Recording
    organization: Organization
    invitation: Invitation

    def place(self, name: str) -> str:
        """Return the value of a name in an address."""
        places = {
            "plan_id": self.plan.id,
            "job_id": self.failed.id,
            "detector_id": self.version.detector_id,
            "number": self.version.number,
            "name": "model.onnx",
            "sample_id": self.sample.pk,
            "clip_id": self.clip,
            "token_id": self.token,
            "webhook_id": self.webhook.pk,
            "user_id": self.guest.pk,
            "recording_id": self.recording.pk,
            "speaker": "S1",
            "organization_id": self.organization.pk,
            "invitation_id": self.invitation.pk,
            "person": "Anna",
        }
        return str(places[name])


@pytest.fixture
def world(owner: User, portal: Path) -> World:
    """One of everything, owned by the owner."""
    version = make_version(owner, portal)
    allow_wakes(detector=version.detector, allowed=True)
    make_version(owner, portal, 2)  # so that there is something to compare
    assert version.job is not None
    Job.objects.filter(pk=version.job_id).update(result={"bundle": str(version.path / version.bundle)})
    spec = {"phrase": "hey compass", "language": "en", "effort": "quick", "engines": []}
    done, failed = Job.State.DONE, Job.State.FAILED
    plan = Job.objects.create(
        user=owner, kind="plan", lane="audio", title="hey compass", spec=spec, state=done, result={"buckets": {}}
    )
    error = {"what": "A.", "why": "B.", "what_to_do": "C."}
    other = Job.objects.create(
        user=owner, kind="train", lane="training", title="hey compass", spec=spec, state=failed, error=error
    )
    JobEvent.objects.create(job=other, event={"event": "artifact", "time": 1.0, "kind": "log", "path": "/srv/hark/log"})
    sample = keep_sample(user=owner, version=version, verdict="missed", audio=noise(1.0))
    with Library(portal) as library:
        clip = NewClip(
            audio=noise(0.5), text="Hey, compass!", text_normalized="hey compass", language="en", engine="espeak"
        )
        (clip_id,) = library.add_clips([clip])
    token, text = create_token(user=owner, name="of the world", scopes=["read"])
    hook, _secret = webhooks.add(user=owner, url="https://example.org/hark", events=["job.done"])
    guest = User.objects.create_user("greta", "", None)
    recording = ready_recording(owner)
    voice = {
        "embedding": [1.0] + 255 * [0.0],
        "times": 1,
        "consent": True,
        "remembered_at": "2026-01-02T03:04:05+00:00",
    }
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


def bearer(text: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {text}"}


def a_token(user: User, *scopes: str) -> dict[str, str]:
    """Return the header with a new API token."""
    return bearer(create_token(user=user, name="test", scopes=scopes or SCOPES[:3])[1])


def a_pair(user: User) -> dict[str, str]:
    """Return the header of a program that signed in with name and password."""
    return bearer(issue_pair(user=user).access)


@pytest.fixture
def call(client: Client) -> Call:
    """Call the API: ``call("post", "/jobs", body={...}, headers=..., files=...)``."""

    def do(method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, **more: Any) -> Any:
        address = path if path.startswith("/api/") else f"/api/v1{path}"
        if body is not None and "content_type" not in more and not more.pop("form", False):
            more["content_type"] = "application/json"
        if body is not None:
            more["data"] = body
        return getattr(client, method)(address, headers=headers or {}, **more)

    return do


def call_example(path: str, method: str, operation: Any, place: Callable[[str], str], headers: dict[str, str]) -> Any:
    """Call an operation of the schema with its own examples; ``place`` gives the values of names in its address."""
    address = re.sub(r"{(\w+)}", lambda name: place(name.group(1)), path)
    asked = {p["name"]: p["example"] for p in operation["parameters"] if p["in"] == "query" and p["required"]}
    address += f"?{urlencode(asked)}" if asked else ""
    body: dict[str, Any] = {}
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            body = {"data": json.dumps(content["example"]), "content_type": "application/json"}
        else:
            body = {"data": {**content["example"], "audio": upload(noise(1.0))}}
    return getattr(Client(), method)(address, headers=headers, **body)


def problem_of(response: Any, status: int) -> dict[str, Any]:
    """Return the problem details of an answer, which must be complete."""
    assert response.status_code == status, (response.status_code, response.content[:500])
    assert response["Content-Type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert said["status"] == status and said["title"] == said["what"]
    assert all(said[name].strip() for name in ("what", "why", "what_to_do"))
    return said
