"""/recordings/<id>/translate, and exports of a translation."""

from __future__ import annotations

import json
import os

import pytest
from django.test import Client

from core.errors import HarkError
from core.events import silent_reporter
from pipeline.recordings.job import translate_recording
from tests.support.llm_double import in_capitals, unset
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.accounts.storage import user_data
from webui.audio import deletion, derived, transcripts
from webui.audio.models import Recording
from webui.jobs.models import Job


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    in_capitals(monkeypatch)


def test_a_transcript_is_translated_and_exported(owners: Client, recording: Recording, model: None) -> None:
    page = f"/recordings/{recording.pk}"
    assert f'action="{page}/translate"' in owners.get(page).content.decode()
    for wrong in ("", "xx", "../etc"):
        assert owners.post(f"{page}/translate", {"language": wrong}).status_code == 422
    assert owners.get(f"{page}/export?format=srt&language=de").status_code == 409
    assert owners.post(f"{page}/translate", {"language": "de"}).status_code == 302
    assert "The transcript is being translated." in owners.get(page).content.decode()
    assert owners.post(f"{page}/translate", {"language": "fr"}).status_code == 409
    job = Job.objects.get(kind="translate")
    assert job.spec["name"] == "German"
    translate_recording(job.spec, user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    shown = owners.get(page).content.decode()
    assert f'href="{page}/export?format=srt&amp;language=de"' in shown and "changed since" not in shown
    answer = owners.get(f"{page}/export?format=srt&language=de")
    assert answer["Content-Disposition"] == 'attachment; filename="meeting (de).srt"'
    srt = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert "ANNA BRINGS THE LANTERN" in srt and "-->" in srt
    transcript = transcripts.transcript_of(recording)
    found = json.loads((recording.path / "translations" / "de.json").read_text())
    assert [one["start_s"] for one in found["segments"]] == [segment.start_s for segment in transcript.segments]
    assert "Anna brings the lantern" in transcript.text, "and the transcript is what it was"
    os.utime(recording.path / "translations" / "de.json", (1, 1))
    assert "The transcript has changed since." in owners.get(page).content.decode()
    assert owners.get(f"{page}/export?format=srt&language=../transcript").status_code == 409


def test_by_api(client: Client, owner: User, recording: Recording, model: None) -> None:
    headers = {"authorization": f"Bearer {create_token(user=owner, name='t', scopes=('read', 'audio'))[1]}"}
    at = f"/api/v1/recordings/{recording.pk}"
    made = client.post(f"{at}/translations?language=de", headers=headers)
    assert made.status_code == 201 and made.json()["kind"] == "translate"
    job = Job.objects.get(kind="translate")
    translate_recording(job.spec, user_data(job.user), silent_reporter())
    answer = client.get(f"{at}/export?format=txt&language=de", headers=headers)
    assert b"ANNA BRINGS THE LANTERN" in b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert client.get(f"{at}/export?format=txt&language=fr", headers=headers).status_code == 409


def test_a_recording_that_was_deleted_meanwhile_does_not_come_back(
    recording: Recording, owner: User, model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = derived.translate(recording=recording, language="de")
    monkeypatch.setattr("pipeline.recordings.job.translate", lambda *given: deletion.delete(recording=recording))
    with pytest.raises(HarkError, match="The recording no longer exists"):
        translate_recording(job.spec, user_data(owner), silent_reporter())
    assert not recording.path.exists()


def test_without_a_language_model_nothing_is_offered(
    owners: Client, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch)
    page = f"/recordings/{recording.pk}"
    assert f"{page}/translate" not in owners.get(page).content.decode()
    refused = owners.post(f"{page}/translate", {"language": "de"})
    assert refused.status_code == 422 and b"The recording cannot be translated here." in refused.content
