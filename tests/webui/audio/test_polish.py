"""/recordings/<id>/polished."""

from __future__ import annotations

import os

import pytest
from django.test import Client

from core.events import silent_reporter
from pipeline.recordings.job import polish_recording
from tests.support.llm_double import in_capitals, unset
from webui.accounts.models import User
from webui.audio import transcripts
from webui.audio.models import Recording
from webui.jobs import services as jobs
from webui.jobs.models import Job


def test_transcript_is_polished_where_a_language_model_is_set_up(
    owners: Client, recording: Recording, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch)
    page = f"/recordings/{recording.pk}"
    address = f"{page}/polished"
    assert address not in owners.get(page).content.decode()
    refused = owners.post(address)
    assert refused.status_code == 422 and b"The recording cannot be polished here." in refused.content
    in_capitals(monkeypatch)
    stranger = Client()
    stranger.force_login(other)
    assert stranger.post(address).status_code == stranger.get(address).status_code == 404
    assert f'action="{address}"' in owners.get(page).content.decode()
    assert owners.get(address).status_code == 404
    assert owners.post(address).status_code == 302
    assert "The transcript is being polished." in owners.get(page).content.decode()
    second = owners.post(address)
    assert second.status_code == 409 and b"The recording is being polished." in second.content
    job = Job.objects.get(kind="polish")
    polish_recording(job.spec, jobs.user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    shown = owners.get(page).content.decode()
    assert f'href="{address}"' in shown and f'action="{address}"' in shown and "changed since" not in shown
    answer = owners.get(address)
    assert answer["Content-Disposition"] == 'attachment; filename="meeting (polished).txt"'
    assert b"ANNA BRINGS THE LANTERN" in b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert "Anna brings the lantern" in transcripts.transcript_of(recording).text, "and the transcript is what it was"
    os.utime(recording.path / "polished.txt", (1, 1))
    assert "The transcript was changed since." in owners.get(page).content.decode()
