"""Recordings through the API, beyond ``test_operations.py``, which calls every operation once."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from pipeline.recordings.diarization import voiceprints
from pipeline.speech_service import client as speech_client
from tests.support.api_calls import Call, World, a_token, problem_of
from tests.support.earlier_recordings import SAID, ready_recording
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.recordings.models import Recording

pytestmark = pytest.mark.django_db


def upload(call: Call, headers: dict[str, str], recording: Path, **options: Any) -> Any:
    with recording.open("rb") as file:
        return call("post", "/recordings", body={"audio": file, **options}, form=True, headers=headers)


def test_an_upload_is_queued_with_its_options(call: Call, owner: User, recording: Path) -> None:
    headers = a_token(owner)
    made = upload(call, headers, recording, engine="hark", language="EN", speakers="2", diarize="true", summarize="0")
    assert made.status_code == 201 and made["Location"] == f"/api/v1/recordings/{made.json()['id']}"
    kept = Recording.objects.get()
    assert kept.options == {
        "engine": "hark", "language": "en", "speakers": 2, "diarize": True, "summarize": False, "translate": False,
        "session": None,
    }  # fmt: skip
    assert made.json()["state"] == "working" and made.json()["job"] == str(kept.job_id)
    assert call("get", f"/jobs/{kept.job_id}", headers=headers).json()["kind"] == "transcribe"
    for wrong in ({"engine": "ears"}, {"speakers": "0"}, {"speakers": "x"}, {"language": "??"}, {"polish": "1"}):
        problem_of(upload(call, headers, recording, **wrong), 422)
    assert Recording.objects.count() == 1


def test_an_idempotent_upload_creates_one_recording(call: Call, owner: User, recording: Path) -> None:
    headers = {**a_token(owner), "Idempotency-Key": "one"}
    first, again = upload(call, headers, recording), upload(call, headers, recording)
    assert first.json() == again.json() and again["Idempotent-Replayed"] == "true"
    assert Recording.objects.count() == 1


def test_a_rejected_upload_leaves_no_file(
    call: Call, owner: User, recording: Path, portal: Path, settings: Any
) -> None:
    headers = a_token(owner)
    empty = SimpleUploadedFile("empty.wav", b"")
    assert call("post", "/recordings", body={"audio": empty}, form=True, headers=headers).status_code == 422
    settings.JOBS_WAITING = 0
    problem_of(upload(call, headers, recording), 429)
    assert not Recording.objects.exists() and not [path for path in (portal / "audio").rglob("*") if path.is_file()]
    assert not list((portal / "uploads" / "received").iterdir())


def test_an_upload_name_cannot_be_a_path(call: Call, owner: User, recording: Path) -> None:
    sent = SimpleUploadedFile("x.wav", recording.read_bytes())
    sent._name = "../../etc/\x1b[31mpass\u202ewd.wav"
    made = call("post", "/recordings", body={"audio": sent}, form=True, headers=a_token(owner)).json()
    assert "/" not in made["name"] and "\x1b" not in made["name"] and "\u202e" not in made["name"]
    assert Recording.objects.get().originals == ["original.wav"]


def test_transcript_summary_and_search_are_served(call: Call, world: World) -> None:
    headers = a_token(world.user, "read")
    place = f"/recordings/{world.recording.pk}"
    said = call("get", f"{place}/transcript", headers=headers).json()
    assert [segment["text"] for segment in said["segments"]] == list(SAID) and "schema" not in said
    assert said["segments"][0]["words"][0]["text"] == "We"
    assert call("get", f"{place}/summary", headers=headers).json()["key_points"][0]["segments"] == [0]
    (hit,) = call("get", "/recordings/search?q=budget", headers=headers).json()["items"]
    assert (hit["segment"], hit["text"], hit["recording"]) == (1, SAID[1], str(world.recording.pk))
    other = ready_recording(world.user, "other.wav")
    assert len(call("get", "/recordings/search?q=budget", headers=headers).json()["items"]) == 2
    (hit,) = call("get", f"/recordings/search?q=budget&recording={other.pk}", headers=headers).json()["items"]
    assert hit["name"] == "other.wav"
    problem_of(call("get", f"/recordings/search?q=budget&recording={uuid.uuid4()}", headers=headers), 404)


def test_questions_are_answered_with_citations(call: Call, world: World, other: User) -> None:
    payload = {"question": "When do we ship the compass?", "recording": str(world.recording.pk)}
    said = call("post", "/recordings/ask", body=payload, headers=a_token(world.user, "read")).json()
    assert said["found"] and said["citations"][0]["text"] == SAID[0] and said["citations"][0]["speaker"] == "S1"
    other_words = {**payload, "question": "Which courier carries the compass to the captain?"}
    said = call("post", "/recordings/ask", body=other_words, headers=a_token(world.user, "read")).json()
    assert not said["found"] and not said["citations"] and said["nearest"][0]["text"] == SAID[0]
    problem_of(call("post", "/recordings/ask", body=payload, headers=a_token(other)), 404)
    del payload["recording"]
    said = call("post", "/recordings/ask", body=payload, headers=a_token(other)).json()
    assert not said["found"] and not said["citations"], "recordings of others are not searched"
    for question in ("", "  ", "word " * 900):
        payload = {"question": question}
        problem_of(call("post", "/recordings/ask", body=payload, headers=a_token(world.user, "read")), 422)


def test_every_export_format_is_served(call: Call, world: World) -> None:
    headers = a_token(world.user, "read")
    for name in ("txt", "srt", "vtt", "json", "csv", "docx"):
        answer = call("get", f"/recordings/{world.recording.pk}/export?format={name}", headers=headers)
        content = answer.getvalue()
        assert f"meeting.{name}" in answer["Content-Disposition"]
        if name == "docx":
            assert zipfile.is_zipfile(io.BytesIO(content))
        else:
            assert b"compass" in content
        if name == "json":
            assert json.loads(content)["segments"]
    problem_of(call("get", f"/recordings/{world.recording.pk}/export?format=exe", headers=headers), 422)


def test_unfinished_recordings_get_409(call: Call, owner: User, recording: Path) -> None:
    headers = a_token(owner)
    made = upload(call, headers, recording).json()
    for what in ("transcript", "summary", "export"):
        problem_of(call("get", f"/recordings/{made['id']}/{what}", headers=headers), 409)
    error = {"what": "A.", "why": "B.", "what_to_do": "C."}
    Job.objects.update(state=Job.State.FAILED, error=error)
    Recording.objects.update(state=Recording.State.FAILED)
    said = call("get", f"/recordings/{made['id']}", headers=headers).json()
    assert said["state"] == "failed" and said["error"] == error


def test_speakers_can_be_named_assigned_and_detected_again(call: Call, world: World) -> None:
    headers = a_token(world.user)
    place = f"/recordings/{world.recording.pk}"
    first = call("get", f"{place}/transcript", headers=headers).json()["segments"][0]["speaker"]
    named = call("patch", f"{place}/speakers/{first}", body={"name": "Paula"}, headers=headers)
    assert named.status_code == 200 and named.json()["speakers"][first] == "Paula"
    given = call("patch", f"{place}/segments/0/speaker", body={"speaker": None}, headers=headers)
    assert given.status_code == 200 and given.json()["segments"][0]["speaker"] not in ("", first)
    assert call("patch", f"{place}/speakers/S99", body={"name": "x"}, headers=headers).status_code == 422
    job = call("post", f"{place}/speakers", body={"speakers": 2}, headers=headers)
    assert job.status_code == 201 and job.json()["kind"] == "speakers"
    problem_of(call("post", f"{place}/speakers", body={"speakers": 3}, headers=headers), 409)


def test_voices_can_be_remembered_and_forgotten(
    call: Call, world: World, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, place = a_token(world.user), f"/recordings/{world.recording.pk}"
    monkeypatch.setattr(voiceprints, "voice_of", lambda *of: np.zeros(5 * 16_000, np.float32))
    monkeypatch.setattr(speech_client, "call", lambda *of: [0.0, 1.0] + 254 * [0.0])
    first = call("get", f"{place}/transcript", headers=headers).json()["segments"][0]["speaker"]
    address = f"{place}/speakers/{first}/voice"
    problem_of(call("post", address, body={"name": "Paula", "consent": False}, headers=headers), 422)
    problem_of(
        call("post", f"{place}/speakers/S99/voice", body={"name": "Paula", "consent": True}, headers=headers), 422
    )
    kept = call("post", address, body={"name": "Paula", "consent": True}, headers=headers)
    assert kept.json() == {"voices": ["Anna", "Paula"]}
    assert call("get", f"{place}/transcript", headers=headers).json()["speakers"][first] == "Paula"
    assert call("get", "/remembered-voices", headers=a_token(other)).json() == {"voices": []}
    problem_of(call("delete", "/remembered-voices/Paula", headers=a_token(other)), 404)
    assert call("delete", "/remembered-voices/Paula", headers=headers).status_code == 204
    assert call("get", "/remembered-voices", headers=headers).json() == {"voices": ["Anna"]}
    problem_of(call("delete", "/remembered-voices/Paula", headers=headers), 404)


def test_a_missing_summary_gets_a_problem(call: Call, world: World) -> None:
    (world.recording.path / "summary.json").unlink()
    said = problem_of(call("get", f"/recordings/{world.recording.pk}/summary", headers=a_token(world.user)), 409)
    assert "summary" in said["what"]


def test_a_recording_can_be_summarized_again(call: Call, world: World) -> None:
    place = f"/recordings/{world.recording.pk}/summary"
    assert call("post", place, headers=a_token(world.user, "read")).status_code == 403
    headers = a_token(world.user, "audio")
    problem_of(call("post", f"{place}?engine=scribe", headers=headers), 422)
    made = call("post", f"{place}?engine=extractive", headers=headers)
    assert made.status_code == 201 and made["Location"] == f"/api/v1/jobs/{made.json()['id']}"
    job = Job.objects.get(kind="summarize")
    assert made.json()["kind"] == "summarize" and job.spec["engine"] == "extractive" and job.queue == "general"
    problem_of(call("post", place, headers=headers), 409)


def test_recordings_are_listed_by_state_in_pages(call: Call, world: World) -> None:
    headers = a_token(world.user, "read")
    ready_recording(world.user, "b.wav")
    said = call("get", "/recordings?limit=1&state=ready", headers=headers).json()
    assert said["total"] == 2 and said["items"][0]["name"] == "b.wav" and said["next"]
    assert call("get", "/recordings?state=failed", headers=headers).json()["items"] == []
    retried = Job.objects.create(
        user=world.user, kind="transcribe", queue="general", title="a", state=Job.State.RUNNING
    )
    Recording.objects.filter(pk=world.recording.pk).update(job=retried)
    said = call("get", "/recordings?state=working", headers=headers).json()["items"]
    assert [one["state"] for one in said] == ["working"]
    assert call("get", "/recordings?state=ready", headers=headers).json()["total"] == 1


def test_deleting_a_recording_removes_its_files(call: Call, world: World) -> None:
    headers = a_token(world.user, "audio")
    folder = world.recording.path
    assert folder.is_dir()
    assert call("delete", f"/recordings/{world.recording.pk}", headers=headers).status_code == 204
    assert not folder.exists() and not Recording.objects.exists()
