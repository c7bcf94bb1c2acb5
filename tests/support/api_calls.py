"""Calls of the API, and a user with one thing of each kind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from tests.support.sounds import noise, upload
from webui.accounts.models import User
from webui.accounts.services import SCOPES, create_token, issue_pair
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.organizations.models import Invitation, Organization
from webui.recordings.models import Recording
from webui.trainer.models import Version
from webui.webhooks.models import Webhook

Call = Callable[..., Any]


@dataclass
class World:
    """A user and one thing of each kind that the API serves."""

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
        """Return the value of a path parameter."""
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


def bearer(text: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {text}"}


def a_token(user: User, *scopes: str) -> dict[str, str]:
    """Return the header with a new API token."""
    return bearer(create_token(user=user, name="test", scopes=scopes or SCOPES[:3])[1])


def a_pair(user: User) -> dict[str, str]:
    """Return the header of a program that signed in with name and password."""
    return bearer(issue_pair(user=user).access)


def call_example(path: str, method: str, operation: Any, place: Callable[[str], str], headers: dict[str, str]) -> Any:
    """Call an operation of the schema with its own examples; ``place`` returns the value of a path parameter."""
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
