"""/recordings/<id>/translate, and exports of a translation."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from django.test import Client

from core.errors import HarkError
from core.events import silent_reporter
from pipeline.recordings import jobs as recording_jobs
from pipeline.recordings.jobs import polish_recording, translate_recording
from tests.support.api_calls import a_token
from tests.support.llm_double import in_capitals, unset
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.recordings import deletion
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    in_capitals(monkeypatch)


def test_a_transcript_is_translated_and_exported(owners: Client, recording: Recording, at: str, model: None) -> None:
    assert f'action="{at}/translate"' in owners.get(at).text
    for wrong in ("", "xx", "../etc"):
        assert owners.post(f"{at}/translate", {"language": wrong}).status_code == 422
    assert owners.get(f"{at}/export?format=srt&language=de").status_code == 409
    assert owners.post(f"{at}/translate", {"language": "de"}).status_code == 302
    assert "The transcript is being translated." in owners.get(at).text
    assert owners.post(f"{at}/translate", {"language": "fr"}).status_code == 409
    job = Job.objects.get(kind="translate")
    assert job.spec["name"] == "German"
    translate_recording(job.spec, user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    shown = owners.get(at).text
    assert f'href="{at}/export?format=srt&amp;language=de"' in shown and "changed since" not in shown
    answer = owners.get(f"{at}/export?format=srt&language=de")
    assert answer["Content-Disposition"] == 'attachment; filename="meeting (de).srt"'
    srt = answer.getvalue().decode()
    assert "ANNA BRINGS THE LANTERN" in srt and "-->" in srt
    transcript = transcripts.transcript_of(recording)
    found = json.loads((recording.path / "translations" / "de.json").read_text())
    assert [one["start_s"] for one in found["segments"]] == [segment.start_s for segment in transcript.segments]
    assert "Anna brings the lantern" in transcript.text, "the transcript is unchanged"
    os.utime(recording.path / "translations" / "de.json", (1, 1))
    assert "The transcript has changed since." in owners.get(at).text
    assert owners.get(f"{at}/export?format=srt&language=../transcript").status_code == 409


@pytest.mark.parametrize(("kind", "run"), [("translate", translate_recording), ("polish", polish_recording)])
def test_a_text_made_from_an_earlier_transcript_is_outdated(
    owners: Client, recording: Recording, at: str, model: None, monkeypatch: pytest.MonkeyPatch, kind: str, run: Any
) -> None:
    make = getattr(recording_jobs, kind)

    def meanwhile(transcript: Any, *more: str) -> Any:
        os.utime(recording.path / "transcript.json")
        return make(transcript, *more)

    os.utime(recording.path / "transcript.json", (1, 1))
    monkeypatch.setattr(recording_jobs, kind, meanwhile)
    spec = {"recording": str(recording.pk), "folder": recording.folder, "language": "de", "name": "German"}
    run(spec, user_data(recording.user), silent_reporter())
    assert "The transcript has changed since." in owners.get(at).text


def test_the_api_translates_and_exports(owner: User, at: str, model: None) -> None:
    at, program = f"/api/v1{at}", Client(headers=a_token(owner, "read", "audio"))
    made = program.post(f"{at}/translations?language=de")
    assert made.status_code == 201 and made.json()["kind"] == "translate"
    job = Job.objects.get(kind="translate")
    translate_recording(job.spec, user_data(job.user), silent_reporter())
    answer = program.get(f"{at}/export?format=txt&language=de")
    assert b"ANNA BRINGS THE LANTERN" in answer.getvalue()
    assert program.get(f"{at}/export?format=txt&language=fr").status_code == 409


def test_a_recording_deleted_during_translation_is_not_recreated(
    recording: Recording, owner: User, model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = derived.translate(recording=recording, language="de")
    monkeypatch.setattr("pipeline.recordings.jobs.translate", lambda *given: deletion.delete(recording=recording))
    with pytest.raises(HarkError, match="The recording no longer exists"):
        translate_recording(job.spec, user_data(owner), silent_reporter())
    assert not recording.path.exists()


def test_a_translation_is_not_offered_without_a_language_model(
    owners: Client, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch)
    assert f"{at}/translate" not in owners.get(at).text
    refused = owners.post(f"{at}/translate", {"language": "de"})
    assert refused.status_code == 422 and b"The recording cannot be translated here." in refused.content
