"""Stereo transcription, called as in that system's documentation."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from tests.support.earlier_recordings import SAID, Finish, program_of
from tests.support.sounds import upload
from webui.accounts.models import User
from webui.compatibility.stereo import STATES
from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/transcribe"


def begin(program: Client, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        answer = program.post(ADDRESS, {"file": file})
    assert answer.status_code == 202, answer.content
    return answer.json()


def test_a_session_goes_from_upload_to_summary(program: Client, recording_file: Path, finish: Finish) -> None:
    begun = begin(program, recording_file)
    assert begun["status"] == "pending" and begun["filename"] == "call.wav"
    place = f"{ADDRESS}/{begun['session_id']}"
    assert "transcript" not in program.get(place).json()
    Job.objects.update(state=Job.State.RUNNING, stage="transcribe", done=1, total=4)
    going = program.get(place).json()
    assert going["status"] == "processing"
    assert going["progress"] == {"stage": "transcribe", "done": 1.0, "total": 4.0}
    finish(Recording.objects.get(), diarization="channels")
    said = program.get(place).json()
    assert said["status"] == "completed"
    segments = said["transcript"]["segments"]
    assert [segment["speaker"] for segment in segments] == ["left", "right"]
    assert [segment["text"] for segment in segments] == list(SAID)
    assert segments[0] == {
        "speaker": "left", "start_time": 0.5, "end_time": 2.0, "text": SAID[0], "confidence": 0.9,
    }  # fmt: skip
    assert said["summary"] == {"text": SAID[0], "key_points": [SAID[0]], "sentiment": "positive"}
    assert set(said["metadata"]) == {"duration", "processing_time", "model_versions"}
    assert said["metadata"]["duration"] == 4.0 and said["metadata"]["model_versions"] == {"double": "1"}


def test_without_separate_channels_speakers_are_numbered(program: Client, recording_file: Path, finish: Finish) -> None:
    begun = begin(program, recording_file)
    finish(Recording.objects.get(), diarization="acoustic", summary=None)
    said = program.get(f"{ADDRESS}/{begun['session_id']}").json()
    assert [segment["speaker"] for segment in said["transcript"]["segments"]] == ["S1", "S2"]
    assert said["summary"] is None


def sent(name: str, seconds: float, channels: int = 2) -> SimpleUploadedFile:
    return upload(np.zeros((int(8000 * seconds), channels)), name, 8000)


def test_unsuitable_files_are_rejected_immediately(program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "3")
    for file, why in (
        (sent("mono.wav", 1.0, 1), "1 channel;"),
        (sent("six.wav", 1.0, 6), "6 channels;"),
        (SimpleUploadedFile("notes.wav", b"These are no samples at all, but words. " * 50), ""),
        (SimpleUploadedFile("report.wav", b"%PDF-1.7 and so on"), "PDF"),
        (SimpleUploadedFile("cut.wav", sent("x", 1.0).read()[:30]), ""),
        (sent("long.wav", 3.5), "minutes"),
    ):
        answer = program.post(ADDRESS, {"file": file})
        assert answer.status_code == 422 and why in answer.json()["why"], (file.name, answer.content)
        assert answer.json()["what_to_do"] and "tmp" not in str(answer.json())
    assert not Recording.objects.exists() and not Job.objects.exists()


def test_each_stereo_file_becomes_a_session(program: Client, portal: Path) -> None:
    files = [sent("a.wav", 1.0), sent("mono.wav", 1.0, 1), sent("b.wav", 1.0)]
    answer = program.post(ADDRESS, {"file": files, "language": "en"})
    said = answer.json()
    assert answer.status_code == 202 and [one["filename"] for one in said["sessions"]] == ["a.wav", "b.wav"]
    assert [one["filename"] for one in said["refused"]] == ["mono.wav"] and "stereo" in said["refused"][0]["what"]
    for one in said["sessions"]:
        assert program.get(f"{ADDRESS}/{one['session_id']}").json()["status"] == "pending"
    assert not [path for path in (portal / "uploads").rglob("*") if path.is_file()], "the rejected file is removed"
    none = program.post(ADDRESS, {"file": [sent("c.wav", 1.0, 1), sent("d.wav", 1.0, 1)]})
    assert none.status_code == 422 and "c.wav" in none.json()["why"] and "d.wav" in none.json()["why"]
    assert program.post(ADDRESS, {"file": [sent("x.wav", 0.1)] * 51}).status_code == 422
    assert Recording.objects.count() == 2


def test_a_queue_that_fills_up_accepts_only_the_first_files(program: Client, settings: Any) -> None:
    settings.JOBS_WAITING = 1
    files = [sent("a.wav", 1.0), sent("b.wav", 1.0), sent("c.wav", 1.0)]
    said = program.post(ADDRESS, {"file": files}).json()
    assert len(said["sessions"]) == 1 and [one["filename"] for one in said["refused"]] == ["b.wav", "c.wav"]
    assert program.post(ADDRESS, {"file": [sent("d.wav", 1.0)] * 2}).status_code == 429


def test_sessions_are_listed_in_pages_by_status(
    program: Client, recording_file: Path, finish: Finish, owner: User
) -> None:
    for _number in range(3):
        begin(program, recording_file)
    newest, middle, oldest = transcripts.recordings_of(owner)
    finish(oldest)
    Job.objects.filter(pk=middle.job_id).update(state=Job.State.RUNNING)
    said = program.get(f"{ADDRESS}?limit=2&offset=1").json()
    assert said["total"] == 3 and (said["limit"], said["offset"]) == (2, 1)
    assert [row["session_id"] for row in said["sessions"]] == [str(middle.pk), str(oldest.pk)]
    for status, expected in (("pending", newest), ("processing", middle), ("completed", oldest)):
        rows = program.get(f"{ADDRESS}?status={status}").json()
        assert [row["session_id"] for row in rows["sessions"]] == [str(expected.pk)] and rows["total"] == 1
        assert rows["sessions"][0]["status"] == status
    (done,) = program.get(f"{ADDRESS}?status=completed").json()["sessions"]
    assert done == program.get(f"{ADDRESS}/{oldest.pk}").json() and done["transcript"]["segments"]
    (oldest.path / "transcript.json").write_text("{")
    (damaged,) = program.get(f"{ADDRESS}?status=completed").json()["sessions"]
    assert damaged["error"]["what"] and "transcript" not in damaged
    assert program.get(f"{ADDRESS}?status=failed").json()["sessions"] == []
    for wrong in ("limit=x", "limit=101", "offset=-1", "status=lost"):
        assert program.get(f"{ADDRESS}?{wrong}").status_code == 422


def test_a_failed_session_reports_its_error(program: Client, recording_file: Path) -> None:
    begun = begin(program, recording_file)
    error = {"what": "A.", "why": "B.", "what_to_do": "C."}
    Job.objects.update(state=Job.State.FAILED, error=error)
    Recording.objects.update(state=Recording.State.FAILED)
    said = program.get(f"{ADDRESS}/{begun['session_id']}").json()
    assert said["status"] == "failed" and said["error"] == error
    for state, status in ((Job.State.QUEUED, "pending"), (Job.State.RUNNING, "processing")):
        Job.objects.update(state=state)  # retried
        found = {name: program.get(f"{ADDRESS}?status={name}").json()["total"] for name in STATES}
        assert found == {**dict.fromkeys(STATES, 0), status: 1}


def test_sessions_are_visible_only_to_their_owner(program: Client, recording_file: Path, other: User) -> None:
    begun = begin(program, recording_file)
    others = program_of(other)
    assert others.get(f"{ADDRESS}/{begun['session_id']}").status_code == 404
    assert others.get(ADDRESS).json()["sessions"] == []
    assert program.get(f"{ADDRESS}/{uuid.uuid4()}").status_code == 404
    # A recording from elsewhere is not a session of this system.
    Recording.objects.update(options={"session": None})
    assert program.get(f"{ADDRESS}/{begun['session_id']}").status_code == 404


@pytest.fixture
def watcher(settings: Any) -> Client:
    """A client with the token of Prometheus."""
    settings.METRICS_TOKEN = "of-prometheus"
    return Client(headers={"Authorization": "Bearer of-prometheus"})


def figures(client: Client) -> dict[str, float]:
    text = client.get("/api/v1/metrics").text
    assert all(family.type != "unknown" for family in text_string_to_metric_families(text))
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _space, value in lines}


def test_metrics_count_sessions_duration_and_failures(
    program: Client, watcher: Client, recording_file: Path, finish: Finish
) -> None:
    view = 'view="compatibility:sessions"'
    before = figures(watcher)
    for _number in range(2):
        begin(program, recording_file)
    assert program.post(ADDRESS, {}).status_code == 422
    first, second = Recording.objects.all()
    finish(first)
    began = timezone.now() - timedelta(seconds=50)
    Job.objects.filter(pk=first.job_id).update(started_at=began, finished_at=began + timedelta(seconds=20))
    Job.objects.filter(pk=second.job_id).update(state=Job.State.FAILED, finished_at=timezone.now())
    after = figures(watcher)

    def more(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert more(f'hark_http_requests_total{{method="POST",status="202",{view}}}') == 2
    assert more(f'hark_http_requests_total{{method="POST",status="422",{view}}}') == 1
    assert more(f'hark_http_request_seconds_count{{method="POST",{view}}}') == 3
    assert 0 < more(f'hark_http_request_seconds_sum{{method="POST",{view}}}') < 60
    assert more(f'hark_http_request_seconds_bucket{{le="+Inf",method="POST",{view}}}') == 3
    assert after['hark_jobs_ended{kind="transcribe",state="done"}'] == 1
    assert after['hark_jobs_ended{kind="transcribe",state="failed"}'] == 1
    assert after['hark_job_seconds{kind="transcribe",quantile="0.95"}'] == pytest.approx(20)
    assert after["hark_transcribed_seconds"] == 4.0
    Job.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    assert not [name for name in figures(watcher) if name.startswith(("hark_jobs_ended", "hark_job_seconds"))]


def test_unknown_methods_and_paths_add_no_metric_labels(client: Client, watcher: Client) -> None:
    client.generic("BREW", "/no/such/address/at/all")
    counted = figures(watcher)
    assert not [line for line in counted if "BREW" in line or "such" in line]
    assert [line for line in counted if 'method="other"' in line and 'view="none"' in line]
