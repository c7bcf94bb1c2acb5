"""Everything stored for a user counts against their disk quota, wherever it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from tests.support.detector_versions import make_version
from tests.support.sounds import sound
from webui.accounts.models import User
from webui.listening.services import save_sample
from webui.recordings.live import sessions

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


@pytest.fixture
def full(others: Client, other: User, portal: Path, settings: Any) -> Client:
    """A browser of a user whose quota is used up."""
    folder = portal / "users" / str(other.pk)
    folder.mkdir(parents=True)
    (folder / "much").write_bytes(bytes(2000))
    settings.USER_MAX_BYTES = 1000
    return others


def uploads(client: Client) -> dict[str, Any]:
    """Return the answers to everything that can be uploaded."""
    return {
        "a form": client.post("/recordings/upload", {"audio": sound()}, headers=JSON),
        "pieces": client.post(
            "/recordings/uploads", {"name": "a.wav", "size": 500}, content_type="application/json", headers=JSON
        ),
        "the API": client.post("/api/v1/recordings", {"audio": sound()}),
        "an archive": client.post("/library/import/upload", {"archive": sound("a.zip")}, headers=JSON),
        "a take": client.post(
            "/library/record/keep",
            {"audio": sound(), "phrase": "hey compass", "take": "7d4f5d0e-6f7e-4c0e-8c62-0d6f7a0b5c11"},
            headers=JSON,
        ),
        "a training": client.post(
            "/api/v1/jobs", {"phrase": "hey compass", "effort": "trial"}, content_type="application/json"
        ),
    }


def test_uploads_beyond_the_quota_are_rejected(full: Client) -> None:
    answers = uploads(full)
    said = {name: (answer.status_code, answer.json().get("what")) for name, answer in answers.items()}
    assert said == dict.fromkeys(answers, (507, "There is not enough room in your storage quota."))


def test_samples_and_live_recordings_beyond_the_quota_are_rejected(full: Client, other: User, portal: Path) -> None:
    version = make_version(other, portal / "users" / str(other.pk))
    with pytest.raises(HarkError, match="not enough room in your storage quota"):
        save_sample(user=other, version=version, verdict="missed", audio=np.zeros(SAMPLE_RATE, np.float32))
    with pytest.raises(HarkError, match="not enough room in your storage quota"):
        sessions.new_file(other)
