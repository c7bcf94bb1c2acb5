"""/recordings/<id>/delete."""

from __future__ import annotations

from pathlib import Path

from django.test import Client
from django.utils import timezone

from core.events import silent_reporter
from db.db_api import Library
from pipeline.recordings import job as recording_job
from webui.accounts.models import User
from webui.audio import intake, job_results, sharing, transcripts
from webui.audio.models import Passage, Recording
from webui.jobs import services as jobs
from webui.jobs.models import Job


def test_files_index_clips_jobs_and_logs_are_removed(
    owners: Client, owner: User, recording: Recording, portal: Path
) -> None:
    spec = {"recording": str(recording.pk), "folder": recording.folder, "minable": True}
    recording_job.make_minable(spec, portal, silent_reporter())
    log = portal / "log" / f"job-{recording.job_id}.log"
    log.parent.mkdir()
    log.write_text("what was said")
    sharing.share(recording=recording)
    assert b"for good" in owners.get(f"/recordings/{recording.pk}/delete").content
    assert owners.post(f"/recordings/{recording.pk}/delete").status_code == 302
    assert not Recording.objects.exists() and not Passage.objects.exists() and not Job.objects.exists()
    assert not recording.path.exists() and not log.exists()
    assert transcripts.search(user=owner, query="lantern") == []
    with Library(portal) as library:
        assert library.stats().clips == 0
    assert not list((portal / "clips").rglob("*.flac"))


def test_deleting_cancels_the_job_and_removes_what_it_writes_later(owner: User, wav: Path) -> None:
    recording = intake.create_recording(user=owner, name="a.wav", source=wav)
    Job.objects.filter(pk=recording.job_id).update(sent_at=timezone.now())
    job = jobs.claim(recording.job_id or "")
    assert job is not None
    intake.delete(recording=recording)
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELLING
    recording.path.mkdir(parents=True)
    (recording.path / "audio.flac").write_bytes(b"written before the job saw that it shall end")
    job_results.job_has_ended(Job, job)
    from django.db import connection

    for _ids, callback, _robust in connection.run_on_commit:
        callback()
    assert not recording.path.exists()
