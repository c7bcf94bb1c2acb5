"""GET /recordings/: the list of recordings, and properties of all their pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from core.events import silent_reporter
from db.db_api import Library
from pipeline.recordings import jobs as recording_jobs
from tests.support.portal_jobs import claimed
from tests.support.ready_recordings import ready_recording
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.jobs.models import Job, JobEvent
from webui.recordings import deletion, job_results
from webui.recordings.models import Passage, Recording
from webui.recordings.reading import transcripts
from webui.recordings.sharing import links
from webui.recordings.transcribing import intake


def test_the_list_shows_state_and_progress(owners: Client, owner: User, recording: Recording, wav: Path) -> None:
    assert b"every 2s" not in owners.get("/recordings/").content
    going = intake.create_recording(user=owner, name="going.wav", source=wav)
    Job.objects.filter(pk=going.job_id).update(state="running", done=3.0, total=10.0, message="Writing it down")
    page = owners.get("/recordings/").text
    assert "every 2s" in page and 'value="3.000"' in page and "Writing it down" in page
    assert "meeting.wav" in owners.get("/recordings/rows").text


def test_empty_pages_explain_what_they_are_for(owners: Client) -> None:
    assert b"Who said what, and when" in owners.get("/recordings/").content
    assert b"You have no recordings yet" in owners.get("/recordings/search").content
    assert b"Transcribe while you speak" in owners.get("/recordings/live").content


@pytest.mark.parametrize("number", [1, 20])
def test_the_number_of_queries_is_constant(
    owners: Client, owner: User, number: int, django_assert_max_num_queries: Any
) -> None:
    for index in range(number):
        one = ready_recording(owner, f"{index}.wav")
    for _ in range(number):
        links.share(recording=one)
    for address in ("/recordings/", "/recordings/search?q=lantern", f"/recordings/{one.pk}"):
        with django_assert_max_num_queries(10):
            assert owners.get(address).status_code == 200


def test_the_menu_marks_the_current_page(owners: Client, recording: Recording) -> None:
    for address, mark in (("", "page"), ("live", "true"), (str(recording.pk), "true")):
        page = flat(owners.get(f"/recordings/{address}"))
        assert re.search(rf'<a href="/recordings/" aria-current="{mark}">', page)


def test_recognizers_are_listed_with_size_speed_and_errors(owners: Client, owner: User) -> None:
    page = owners.get("/recordings/").text
    assert "<b>moonshine tiny-en</b> · 42 MB · a minute of audio takes about 4 s · 6 of 100 words wrong" in page
    assert "749 words of LibriSpeech dev-clean" in page
    for seconds in (30, 50, 90):
        made = ready_recording(owner)
        made.engine, made.duration_s = "moonshine tiny-en", 300.0
        made.save()
        # What speakers and the summary take, and a job that waited, do not count.
        for name, at in (("listen", 0.0), ("transcribe", 200.0), ("speakers", 200.0 + seconds), ("summarize", 900.0)):
            JobEvent.objects.create(job_id=made.job_id, event={"event": "stage", "name": name, "time": at})
    cache.clear()  # it is cached for a minute
    page = owners.get("/recordings/").text
    assert "<b>moonshine tiny-en</b> · 42 MB · a minute of audio took 10 s here" in page


def test_deleting_removes_files_index_clips_jobs_and_logs(
    owners: Client, owner: User, recording: Recording, at: str, portal: Path
) -> None:
    spec = {"recording": str(recording.pk), "folder": recording.folder, "minable": True}
    recording_jobs.make_minable(spec, portal, silent_reporter())
    log = portal / "log" / f"job-{recording.job_id}.log"
    log.parent.mkdir()
    log.write_text("what was said")
    links.share(recording=recording)
    assert b"permanently" in owners.get(f"{at}/delete").content
    assert owners.post(f"{at}/delete").status_code == 302
    assert not Recording.objects.exists() and not Passage.objects.exists() and not Job.objects.exists()
    assert not recording.path.exists() and not log.exists()
    assert transcripts.search(user=owner, query="lantern") == []
    with Library(portal) as library:
        assert library.stats().clips == 0
    assert not list((portal / "clips").rglob("*.flac"))


def test_deleting_cancels_the_job_and_removes_its_later_output(waiting: Recording) -> None:
    job = claimed(waiting.job)
    deletion.delete(recording=waiting)
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELLING
    waiting.path.mkdir(parents=True)
    (waiting.path / "audio.flac").write_bytes(b"written before the job saw that it shall end")
    job_results.job_has_ended(Job, job)
    for _ids, callback, _robust in connection.run_on_commit:
        callback()
    assert not waiting.path.exists()
