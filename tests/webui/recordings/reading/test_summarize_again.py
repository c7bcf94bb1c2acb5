"""POST /recordings/<id>/summary."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import timedelta

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from core.errors import HarkError
from core.events import silent_reporter
from pipeline.recordings import jobs as recording_jobs
from pipeline.recordings.files import recording_folder
from pipeline.recordings.jobs import polish_recording
from tests.support.llm_double import in_capitals, unset
from tests.support.portal_jobs import claimed
from tests.support.rendered_pages import flat
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.editing import corrections
from webui.recordings.editing.segments import without_segment
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts
from webui.recordings.sharing import links
from webui.recordings.transcribing import intake


def summaries() -> QuerySet[Job]:
    return Job.objects.filter(kind="summarize")


def summarized() -> Job:
    """Run the newest job of that kind as a worker does."""
    job = claimed(summaries().latest("created_at"))
    try:
        recording_jobs.summarize_recording(job.spec, user_data(job.user), silent_reporter())
    except HarkError as error:
        jobs.finish(job, Job.State.FAILED, error)
    else:
        jobs.finish(job, Job.State.DONE)
    return Job.objects.get(pk=job.pk)


def test_a_summary_can_be_renewed_after_corrections(owners: Client, recording: Recording, at: str) -> None:
    outdated = "data-outdated>Written before your corrections, "
    assert outdated not in flat(owners.get(at))
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse on Tuesday", "version": "1"})
    shown = flat(owners.get(at))
    assert outdated in shown and "Summarize again" in shown
    answer = owners.post(f"{at}/summary", {"engine": "extractive"})
    assert answer.status_code == 302 and answer["Location"] == f"{at}#summary"
    shown = flat(owners.get(at))
    assert "Another summary is being written." in shown and f'hx-get="{at}/summary"' in shown
    assert summarized().state == "done"
    summary = derived.summary_of(recording)
    assert summary["engine"].startswith("extractive") and "lighthouse" in str(summary)
    fragment = flat(owners.get(f"{at}/summary"))
    assert "hx-get" not in fragment and outdated not in fragment and "Summarize again" in fragment
    owners.post(f"{at}/segments/0", {"text": "We meet in the harbour", "version": "2"})
    assert outdated in flat(owners.get(f"{at}/summary"))


def test_an_unknown_engine_and_a_second_request_are_rejected(owners: Client, at: str) -> None:
    page = f"{at}/summary"
    unknown = owners.post(page, {"engine": "scribe"})
    assert unknown.status_code == 422 and b"There is no summary engine called" in unknown.content
    assert owners.post(page).status_code == 302
    second = owners.post(page, {"engine": "extractive"})
    assert second.status_code == 409 and b"The recording is being summarized." in second.content
    assert summaries().count() == 1
    intake.transcribe_again(recording=Recording.objects.select_related("user", "job").get())
    summaries().delete()
    assert owners.post(page).status_code == 409


def test_a_summary_of_removed_segments_is_not_stored(
    owners: Client, recording: Recording, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived.summarize_again(recording=recording)
    real = recording_jobs._summary

    def corrected_meanwhile(*arguments: object) -> object:
        made = real(*arguments)
        corrections.update_segment(recording=recording, number=1, text="", version=None)
        return made

    monkeypatch.setattr(recording_jobs, "_summary", corrected_meanwhile)
    before = derived.summary_of(recording)
    assert before is not None
    assert summarized().state == "failed"
    after = derived.summary_of(recording)
    assert after == {**before, **without_segment(before, 1)}
    shown = owners.get(at).text
    assert "Summarizing again failed." in shown and "is out of date" in shown


def test_a_recording_without_a_summary_offers_one(owners: Client, recording: Recording, at: str) -> None:
    (recording.path / recording_folder.SUMMARY).unlink()
    shown = flat(owners.get(at))
    assert "There is no summary." in shown and '<button class="quiet">Summarize</button>' in shown
    _made, token = links.share(recording=recording)
    assert "There is no summary." not in flat(Client().get(f"/recordings/shared/{token}"))


def at_rest(recording: Recording) -> None:
    """Let the last correction be a minute old."""
    transcript = recording.path / recording_folder.TRANSCRIPT
    os.utime(transcript, (time.time() - 60, time.time() - 60))


def made_by(recording: Recording, engine: str) -> None:
    path = recording.path / recording_folder.SUMMARY
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": engine}))


def test_a_summary_is_renewed_automatically_after_corrections(owners: Client, recording: Recording, at: str) -> None:
    made_by(recording, "extractive LSA")
    assert 'hx-trigger="corrected from:body delay:20s"' in owners.get(at).text
    assert owners.post(f"{at}/summary", {"follow": "1"}).status_code == 200 and not summaries().exists()
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse on Tuesday", "version": "1"})
    shown = owners.get(at).text
    assert re.search(r'hx-trigger="load delay:(19|20)s, corrected', shown) and "when you finish editing" in shown
    at_rest(recording)
    assert 'hx-trigger="load delay:1s, corrected' in owners.get(at).text
    assert "Another summary is being written." in owners.post(f"{at}/summary", {"follow": "1"}).text
    owners.post(f"{at}/summary", {"follow": "1"})
    (job,) = summaries()
    assert job.kind == "summarize" and job.spec["engine"] == "extractive" and summarized().state == "done"
    assert "lighthouse" in str(derived.summary_of(recording))
    owners.post(f"{at}/summary", {"follow": "1"})
    assert summaries().count() == 1, "the summary is up to date"


def test_a_failed_summary_is_retried_only_after_the_next_correction(
    owners: Client, recording: Recording, at: str
) -> None:
    made_by(recording, "extractive LSA")
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse on Tuesday", "version": "1"})
    at_rest(recording)
    owners.post(f"{at}/summary", {"follow": "1"})
    summaries().update(state=Job.State.FAILED)
    assert "corrected from:body" not in owners.post(f"{at}/summary", {"follow": "1"}).text
    assert summaries().count() == 1
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse on Monday", "version": "2"})
    owners.post(f"{at}/summary", {"follow": "1"})
    assert summaries().count() == 2


def test_a_language_model_is_used_only_if_the_user_chose_it(
    owners: Client, recording: Recording, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_LLM_URL", "http://localhost:9/v1")
    monkeypatch.setenv("HARK_LLM_MODEL", "m")
    made_by(recording, "llm m")
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse on Tuesday", "version": "1"})
    at_rest(recording)
    shown = owners.post(f"{at}/summary", {"follow": "1"}).text
    assert not summaries().exists() and "Summarize again" in shown and "corrected from:body" not in shown
    owners.post(f"{at}/summary", {"engine": "llm"})
    summaries().update(state=Job.State.DONE, created_at=timezone.now() - timedelta(minutes=5))
    owners.post(f"{at}/summary", {"follow": "1"})
    assert summaries().count() == 2 and summaries().latest("created_at").spec["engine"] == "llm"


def test_a_transcript_is_polished_if_a_language_model_is_set_up(
    owners: Client, recording: Recording, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch)
    address = f"{at}/polished"
    assert address not in owners.get(at).text
    refused = owners.post(address)
    assert refused.status_code == 422 and b"The transcript cannot be cleaned up here." in refused.content
    in_capitals(monkeypatch)
    assert f'action="{address}"' in owners.get(at).text
    assert owners.get(address).status_code == 404
    assert owners.post(address).status_code == 302
    assert "The transcript is being cleaned up." in owners.get(at).text
    second = owners.post(address)
    assert second.status_code == 409 and b"The transcript is being cleaned up." in second.content
    job = Job.objects.get(kind="polish")
    polish_recording(job.spec, user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    shown = owners.get(at).text
    assert f'href="{address}"' in shown and f'action="{address}"' in shown and "changed since" not in shown
    answer = owners.get(address)
    assert answer["Content-Disposition"] == 'attachment; filename="meeting (polished).txt"'
    assert b"ANNA BRINGS THE LANTERN" in answer.getvalue()
    assert "Anna brings the lantern" in transcripts.transcript_of(recording).text, "the transcript is unchanged"
    os.utime(recording.path / "polished.txt", (1, 1))
    assert "The transcript has changed since." in owners.get(at).text
