"""Pages and JSON are sent compressed to browsers; sound and files are not."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

from django.test import Client
from django.urls import reverse

from tests.webui.audio.conftest import ready_recording
from webui.accounts.models import User

ASKS: Mapping[str, str] = {"Accept-Encoding": "gzip, br"}


def test_pages_and_json_are_compressed(owners: Client) -> None:
    for address in (reverse("trainer:home"), reverse("jobs:index"), "/api/v1/jobs"):
        plain, sent = owners.get(address), owners.get(address, headers=ASKS)
        assert "Content-Encoding" not in plain.headers
        if len(plain.content) > 200:
            assert sent.headers["Content-Encoding"] == "gzip" and len(sent.content) < len(plain.content) * 0.7
            assert "Accept-Encoding" in sent.headers["Vary"]
            assert gzip.decompress(sent.content)[:40] == plain.content[:40]
    assert owners.get(reverse("trainer:home"), headers=ASKS).headers["Content-Encoding"] == "gzip"


def test_sound_is_sent_as_it_is(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    sound = owners.get(reverse("audio:audio", args=[recording.pk]), headers=ASKS)
    assert sound.status_code == 200 and "Content-Encoding" not in sound.headers
    part = owners.get(reverse("audio:audio", args=[recording.pk]), headers={**ASKS, "Range": "bytes=0-3"})
    assert part.status_code == 206 and b"".join(part) == b"fLaC"
