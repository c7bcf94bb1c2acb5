"""A recording's state follows its job."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from django.test import Client

from core.data_folder import storage_error
from core.errors import HarkError
from pipeline.recordings.transcription.transcribe import PROGRESS_FILE
from pipeline.recordings.transcripts.transcript import Transcript, load_transcript
from tests.support.portal_jobs import claimed
from tests.support.ready_recordings import transcript_of_words
from tests.support.refusals import refuses
from webui.accounts.models import User
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings import job_results
from webui.recordings.editing import corrections
from webui.recordings.models import Passage, Recording
from webui.recordings.reading import transcripts
from webui.recordings.transcribing import intake


def fails(recording: Recording, what: str, stage: str = "") -> None:
    error = {"what": what, "why": "Because.", "what_to_do": "Do."}
    Job.objects.filter(pk=recording.job_id).update(state=Job.State.FAILED, stage=stage, error=error)


def test_a_failed_job_makes_the_recording_failed_until_retried(owner: User, waiting: Recording) -> None:
    jobs.finish(claimed(waiting.job), Job.State.FAILED, HarkError("It failed.", "Because.", "Do."))
    recording = transcripts.recordings_of(owner).get(pk=waiting.pk)
    assert recording.state == "failed" and recording.now == "failed"
    with refuses(409, match="no transcript"):
        transcripts.transcript_of(recording)
    intake.retry(recording=recording)
    assert transcripts.recordings_of(owner).get(pk=recording.pk).now == "working"
    found = {state: transcripts.recordings_of(owner).in_state(state).count() for state in Recording.State.values}
    assert found == {"uploaded": 0, "working": 1, "ready": 0, "failed": 0}


def test_the_page_of_a_failed_recording_shows_the_error_and_retries(
    owners: Client, owner: User, waiting: Recording
) -> None:
    at = f"/recordings/{waiting.pk}"
    fails(waiting, "It is <silent>.")
    page = owners.get(at).text
    assert "It is &lt;silent&gt;." in page and "Try again" in page
    assert owners.post(f"{at}/retry").status_code == 302
    assert transcripts.recordings_of(owner).get(pk=waiting.pk).now == "working"
    assert b"Waiting for its turn" in owners.get(at).content


def test_a_failed_recording_can_be_given_a_language(owners: Client, owner: User, waiting: Recording) -> None:
    at = f"/recordings/{waiting.pk}"
    assert 'name="language"' not in owners.get(at).text
    fails(waiting, "The speech was not recognized.")
    page = owners.get(at).text
    assert 'name="language"' in page and f"{at}/again" in page
    owners.post(f"{at}/again", {"language": "en", "speakers": ""})
    assert transcripts.recordings_of(owner).get(pk=waiting.pk).job.spec["options"]["language"] == "en"


def test_an_unreadable_file_offers_another_upload(owners: Client, waiting: Recording) -> None:
    at = f"/recordings/{waiting.pk}"
    for stage, offered in (("normalize", True), ("transcribe", False)):
        fails(waiting, "The file is no recording.", stage)
        page = owners.get(at).text
        assert ("Upload another file" in page) is offered and "Try again" in page
    ours = storage_error(PermissionError(13, "No permission", "/data/x"), "it")
    Job.objects.filter(pk=waiting.job_id).update(stage="normalize", error=ours.parts())
    assert "Upload another file" not in owners.get(at).text


def test_a_done_job_makes_the_recording_ready_and_indexed(recording: Recording) -> None:
    assert (recording.state, recording.duration_s, recording.language) == ("ready", 3.0, "en")
    assert (recording.speakers, recording.words, recording.version) == (2, 18, 1)
    assert Passage.objects.filter(recording=recording).count() == 3


def test_a_name_changed_while_the_transcript_is_stored_is_preserved(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_renamed(path: Path) -> Transcript:
        Recording.objects.update(name="Harbour")
        return load_transcript(path)

    monkeypatch.setattr(job_results, "load_transcript", load_renamed)
    assert recording.job is not None
    job_results.transcribed(recording.job)
    recording.refresh_from_db()
    assert (recording.name, recording.version) == ("Harbour", 2)


def test_retranscription_preserves_the_old_transcript_until_done(recording: Recording, owner: User) -> None:
    before = recording.job_id
    (recording.path / PROGRESS_FILE).write_text("{}")
    intake.transcribe_again(recording=recording, options={"engine": "hark", "summarize": False})
    now = transcripts.recordings_of(owner).select_related("user").get(pk=recording.pk)
    assert now.now == "working" and now.options["engine"] == "hark" and now.job_id != before
    assert not Job.objects.filter(pk=before).exists() and not (recording.path / PROGRESS_FILE).exists()
    assert transcripts.transcript_of(now).segments
    with refuses(409):
        corrections.update_segment(recording=now, number=0, text="x")
    (recording.path / PROGRESS_FILE).write_text("{}")
    with refuses(409):
        intake.transcribe_again(recording=now)
    assert (recording.path / PROGRESS_FILE).exists(), "the progress of the active job"


def test_a_failed_second_transcription_is_shown_with_the_old_transcript(
    owners: Client, recording: Recording, at: str
) -> None:
    intake.transcribe_again(recording=recording)
    recording.refresh_from_db()
    fails(recording, "The engine broke.")
    Recording.objects.update(state=Recording.State.FAILED)
    page = owners.get(at).text
    assert "The engine broke." in page and "this is the previous transcript" in page and "We meet in" in page


def begun(recording: Recording, *said: str, rest: bytes = b"") -> None:
    """Write progress as a transcription does; ``rest``: a partial line."""
    words = transcript_of_words(tuple(("", text, 0.9) for text in said))
    rows = [{"schema": 1}, {"piece": ["", 0, 1], "segments": [asdict(segment) for segment in words.segments]}]
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (recording.path / PROGRESS_FILE).write_bytes(lines + rest)
    Job.objects.filter(pk=recording.job.pk).update(state=Job.State.RUNNING)
    Recording.objects.filter(pk=recording.pk).update(state=Recording.State.WORKING, version=0)


def test_words_are_shown_during_transcription(owners: Client, recording: Recording, at: str) -> None:
    begun(recording, "We meet <b>here</b>", "who brings it", rest=b'{"piece": ["", 1, 2], "segm')
    for address in (at, f"{at}/so-far"):
        shown = owners.get(address).text
        assert "We meet &lt;b&gt;here&lt;/b&gt;" in shown and "who brings it" in shown
        assert f'hx-get="{at}/so-far"' in shown


def test_progress_is_hidden_before_the_first_words(owners: Client, recording: Recording, at: str) -> None:
    begun(recording)
    (recording.path / PROGRESS_FILE).unlink()
    shown = owners.get(f"{at}/so-far").text
    assert "hidden" in shown and "hx-get" in shown


def test_only_the_latest_words_of_a_long_recording_are_shown(owners: Client, recording: Recording, at: str) -> None:
    begun(recording, *(f"number {number}" for number in range(45)))
    shown = owners.get(f"{at}/so-far").text
    assert "number 44<" in shown and "number 5<" in shown and "number 4<" not in shown and "…" in shown


def test_progress_is_hidden_once_the_transcript_exists(owners: Client, at: str) -> None:
    shown = owners.get(f"{at}/so-far").text
    assert "hx-get" not in shown and "hidden" in shown
