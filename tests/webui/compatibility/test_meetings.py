"""Meetings: uploaded, transcribed, cleaned up, fetched as files, as in that system's documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from core.events import silent_reporter
from pipeline.jobs import KINDS as DONE_BY
from tests.support.earlier_recordings import SAID, Finish, program_of
from tests.support.llm_double import in_capitals, unset
from webui.accounts.models import User
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording

pytestmark = pytest.mark.django_db
ADDRESS = "/api/meetings"


@pytest.fixture(autouse=True)
def no_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch)


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> None:
    in_capitals(monkeypatch)


def send(program: Client, path: Path, **options: Any) -> Any:
    with path.open("rb") as audio:
        return program.post(ADDRESS, {"audio": audio, **options})


def test_a_meeting_goes_from_upload_to_artefacts(program: Client, recording_file: Path, finish: Finish) -> None:
    answer = send(program, recording_file, speakers="2", language="en", summary="1")
    assert answer.status_code == 202 and answer["Location"] == f"{ADDRESS}/{answer.json()['meeting_id']}"
    meeting = Recording.objects.get()
    assert meeting.options["speakers"] == 2 and meeting.options["diarize"] and meeting.options["summarize"]
    going = program.get(answer["Location"]).json()
    assert going["status"] == "working" and going["progress"]["state"] == "queued" and going["artefacts"] == []
    assert "error" not in going
    finish(meeting)
    said = program.get(answer["Location"]).json()
    assert said["status"] == "ready" and "error" not in said
    files = {row["name"]: row["url"] for row in said["artefacts"]}
    assert set(files) == {"transcript.txt", "transcript.json", "summary.json"}
    text = program.get(files["transcript.txt"]).getvalue().decode()
    assert SAID[0] in text
    content = json.loads(program.get(files["transcript.json"]).getvalue())
    assert [segment["speaker"] for segment in content["segments"]] == ["S1", "S2"]
    assert program.get(f"{answer['Location']}/artefacts/audio.flac").status_code == 404
    assert program.get(ADDRESS).json()["meetings"][0]["meeting_id"] == str(meeting.pk)
    Recording.objects.update(state=Recording.State.FAILED)
    assert program.get(ADDRESS).json()["meetings"][0]["error"]["why"]
    assert program.delete(answer["Location"]).status_code == 204
    assert not meeting.path.exists() and program.get(answer["Location"]).status_code == 404


def test_a_meeting_is_polished_if_a_language_model_is_set_up(
    program: Client, recording_file: Path, finish: Finish, llm: None, portal: Path
) -> None:
    place = send(program, recording_file)["Location"]
    meeting = Recording.objects.get()
    assert meeting.job is not None
    Job.objects.filter(pk=meeting.job_id).update(state=Job.State.RUNNING, lease="mine", sent_at=meeting.created_at)
    finish(meeting)
    Job.objects.filter(pk=meeting.job_id).update(state=Job.State.RUNNING)
    job = Job.objects.get(pk=meeting.job_id)
    jobs.finish(job, Job.State.DONE)
    polishing = Job.objects.get(kind="polish")
    assert polishing.queue == "general"
    meeting.refresh_from_db()
    assert program.get(place).json()["status"] == "polishing"
    waiting = program.get(f"{ADDRESS}/progress").json()["meetings"]
    assert [row["status"] for row in waiting] == ["polishing"]
    assert DONE_BY["polish"].run(polishing.spec, portal, silent_reporter()) == {"segments": 2}
    Job.objects.filter(pk=polishing.pk).update(state=Job.State.DONE)
    said = program.get(place).json()
    assert {"polished.txt", "polished.json"} <= {row["name"] for row in said["artefacts"]}
    text = program.get(f"{place}/artefacts/polished.txt").getvalue().decode()
    assert SAID[0].upper() in text
    assert SAID[0] in (meeting.path / "transcript.txt").read_text(), "the original transcript remains"


def test_cleanup_is_rejected_without_a_language_model(program: Client, recording_file: Path) -> None:
    answer = send(program, recording_file, polish="1")
    assert answer.status_code == 422 and "HARK_LLM_URL" in answer.json()["what_to_do"]
    assert not Recording.objects.exists()
    assert send(program, recording_file, polish="0").status_code == 202
    assert Recording.objects.get().options["session"] == "meeting"


def test_polishing_a_deleted_meeting_leaves_no_files(portal: Path, llm: None) -> None:
    from core.errors import HarkError

    with pytest.raises(HarkError, match="no longer exists"):
        DONE_BY["polish"].run({"recording": "x", "folder": "audio/x"}, portal, silent_reporter())
    assert not (portal / "audio").exists()


def test_several_files_become_one_meeting(program: Client, recording_file: Path) -> None:
    with recording_file.open("rb") as first, recording_file.open("rb") as second:
        answer = program.post(ADDRESS, {"audio": [first, second]})
    assert answer.status_code == 202
    assert len(Recording.objects.get().originals) == 2


def test_progress_shows_only_the_callers_meetings(
    program: Client, recording_file: Path, other: User, settings: Any
) -> None:
    send(program, recording_file)
    Job.objects.update(state=Job.State.RUNNING, stage="transcribe", message="Writing", done=3, total=12, eta_s=9.0)
    said = program.get(f"{ADDRESS}/progress").json()
    (row,) = said["meetings"]
    assert row["progress"]["percent"] == 25.0 and row["progress"]["stage"] == "transcribe"
    assert said["queue"]["most_waiting"] == settings.JOBS_WAITING and said["queue"]["accepts"]
    assert program_of(other).get(f"{ADDRESS}/progress").json()["meetings"] == []
    settings.JOBS_WAITING = 0
    assert not program.get(f"{ADDRESS}/progress").json()["queue"]["accepts"]


@pytest.mark.parametrize("options", [{"speakers": "many"}, {"speakers": "99"}, {"engine": "ears"}, {"language": "!"}])
def test_invalid_options_get_422(program: Client, recording_file: Path, options: dict[str, str]) -> None:
    answer = send(program, recording_file, **options)
    assert answer.status_code == 422 and answer.json()["what_to_do"] and not Recording.objects.exists()


def test_other_users_get_404(program: Client, recording_file: Path, other: User) -> None:
    place = send(program, recording_file)["Location"]
    others = program_of(other)
    for method, address in (("get", place), ("delete", place), ("get", f"{place}/artefacts/transcript.txt")):
        assert getattr(others, method)(address).status_code == 404
    assert Recording.objects.count() == 1
