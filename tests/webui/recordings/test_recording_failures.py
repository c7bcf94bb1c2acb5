"""Failures halfway: full queues and disks, deletions and switches while a job runs, lost answers."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, transaction
from django.test import Client

from core.errors import HarkError
from core.events import silent_reporter
from db.db_api import Library
from pipeline.recordings import jobs as recording_jobs
from pipeline.recordings import library_clips
from pipeline.recordings.files import recording_folder
from pipeline.recordings.transcripts.transcript import load_transcript
from tests.support.portal_jobs import claimed
from tests.support.refusals import refuses
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.jobs.quota import Limits, set_quota
from webui.recordings import deletion
from webui.recordings.editing import corrections
from webui.recordings.live import sessions
from webui.recordings.models import Recording
from webui.recordings.sharing.minable import set_minable
from webui.recordings.transcribing import intake
from webui.recordings.uploading import leftovers

pytestmark = pytest.mark.django_db(transaction=True)


def ended(job: Job) -> None:
    """Run a job as its child does, in this process, and conclude it as its worker does."""
    result = recording_jobs.make_minable(job.spec, user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(result=result)
    jobs.finish(job, Job.State.DONE)


def clips_of(recording: Recording) -> int:
    with Library(user_data(recording.user)) as library:
        return len(library.with_source(f"recording-{recording.pk}"))


def texts_of(recording: Recording) -> list[str]:
    return [segment.text for segment in load_transcript(recording.path / recording_folder.TRANSCRIPT).segments]


def test_the_latest_switch_wins_regardless_of_job_order(recording: Recording) -> None:
    on = claimed(set_minable(recording=recording, minable=True))
    off = claimed(set_minable(recording=recording, minable=False))
    ended(off)
    ended(on)
    again = Job.objects.get(kind="minable", state=Job.State.QUEUED)
    assert again.spec["minable"] is False
    ended(claimed(again))
    assert clips_of(recording) == 0


def test_clips_added_during_a_deletion_are_removed(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(set_minable(recording=recording, minable=True))
    real = library_clips._clips

    def deleted_meanwhile(*arguments: Any) -> Iterator[Any]:
        found = list(real(*arguments))
        deletion.delete(recording=recording)
        yield from found

    monkeypatch.setattr(library_clips, "_clips", deleted_meanwhile)
    ended(job)
    assert not Recording.objects.exists() and not Job.objects.filter(kind="minable").exists()
    assert clips_of(recording) == 0


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        ("editing.corrections.write", OSError(28, "No space left on device")),
        ("reading.search.index", HarkError("The disk is full.", "No space left.", "Free some.")),
    ],
)
def test_a_correction_that_fails_changes_nothing(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, fails: str, error: Exception
) -> None:
    def no_room(*arguments: Any, **more: Any) -> None:
        raise error

    before = texts_of(recording)
    with monkeypatch.context() as patched, pytest.raises(HarkError):
        patched.setattr(f"webui.recordings.{fails}", no_room)
        corrections.update_segment(recording=recording, number=0, text="", version=1)
    assert texts_of(recording) == before
    assert not list(recording.path.glob("*.before"))
    corrections.update_segment(recording=Recording.objects.get(), number=0, text="", version=1)
    assert texts_of(recording) == before[1:]  # one is gone, not two


def test_a_recording_can_finish_despite_a_full_queue(recording: Recording, owner: User, settings: Any) -> None:
    Recording.objects.filter(pk=recording.pk).update(minable=True)
    intake.transcribe_again(recording=Recording.objects.select_related("user", "job").get())
    job = claimed(Job.objects.get(kind="transcribe", state=Job.State.QUEUED))
    settings.JOBS_WAITING = 1
    jobs.submit(user=owner, kind="plan", title="waits", spec={})
    Job.objects.filter(pk=job.pk).update(result=recording.job.result)
    jobs.finish(job, Job.State.DONE)
    assert Job.objects.get(pk=job.pk).state == Job.State.DONE
    assert Job.objects.filter(kind="minable", state=Job.State.QUEUED).count() == 1


def test_the_form_names_rejected_files(owners: Client, settings: Any, wav: Path) -> None:
    settings.JOBS_WAITING, settings.JOBS_RUNNING, settings.JOBS_RUNNING_PER_USER = 3, 1, 1
    files = [SimpleUploadedFile(f"talk-{n}.wav", wav.read_bytes()) for n in range(6)]
    answer = owners.post("/recordings/upload", {"audio": files, "summarize": "1"}, follow=True)
    kept = {recording.name for recording in Recording.objects.all()}
    assert 0 < len(kept) < 6
    page = answer.text
    assert all((f"talk-{n}.wav" in page) for n in range(6))
    assert "Rejected:" in page and Job.objects.count() == len(kept)


def test_the_form_keeps_the_files_that_can_be_used(others: Client, other: User, wav: Path) -> None:
    def sent(*names: str) -> Any:
        files = [SimpleUploadedFile(name, b"" if "empty" in name else wav.read_bytes()) for name in names]
        return others.post("/recordings/upload", {"audio": files}, follow=True)

    set_quota(other, Limits(None, 2, None))
    page = sent("empty-1.wav", "a.wav", "empty-2.wav").text
    assert "The file has 0 bytes. Rejected: empty-1.wav, empty-2.wav." in page and "1 recording was accepted." in page
    page = sent("b.wav", "c.wav").text
    assert "You have used all your jobs for today." in page and "Rejected: c.wav." in page
    assert {recording.name for recording in Recording.objects.all()} == {"a.wav", "b.wav"}
    none = sent("d.wav", "empty.wav")
    assert none.status_code == 422 and "No recording was accepted." in none.text and "empty.wav" in none.text


def test_a_repeated_final_request_creates_one_recording(owners: Client, wav: Path) -> None:
    content = wav.read_bytes()
    begun = owners.post("/recordings/uploads", {"name": "a.wav", "size": len(content)}, "application/json").json()
    owners.patch(f"{begun['address']}?offset=0", content, "application/octet-stream")
    first, second = (owners.post(f"{begun['address']}/done", {}, "application/json") for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json()["recording"] == second.json()["recording"]
    assert Recording.objects.count() == Job.objects.count() == 1


def test_simultaneous_retranscriptions_create_one_job(recording: Recording) -> None:
    first, second = (Recording.objects.select_related("user", "job").get() for _ in range(2))
    intake.transcribe_again(recording=first, options={"language": "en"})
    with refuses(409):
        intake.transcribe_again(recording=second, options={"language": "de"})
    assert Job.objects.filter(kind="transcribe", state=Job.State.QUEUED).count() == 1


def test_a_recording_can_be_deleted_while_it_is_written(recording: Recording) -> None:
    (recording.path / "progress.jsonl").write_text("{}")
    folder = recording.path
    deletion.delete(recording=recording)
    assert not list(folder.parent.iterdir())


def test_a_deletion_that_fails_halfway_is_completed(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    folder = recording.path
    for complete in (leftovers.remove_leftovers, partial(deletion.delete, recording=recording)):
        folder.mkdir(exist_ok=True)
        (folder / recording_folder.AUDIO).write_bytes(b"audio")
        with monkeypatch.context() as patched, pytest.raises(HarkError):
            patched.setattr(shutil, "rmtree", fail)
            deletion.delete(recording=recording)
        assert Recording.objects.filter(pk=recording.pk).exists()
        complete()
        assert not list(folder.parent.iterdir())
    assert not Recording.objects.exists()


def test_a_job_may_end_during_the_deletion(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(set_minable(recording=recording, minable=True))
    end = partial(jobs.finish, job, Job.State.CANCELLED)
    monkeypatch.setattr(deletion, "record", lambda *arguments, **more: transaction.on_commit(end))
    deletion.delete(recording=recording)
    assert not Recording.objects.exists() and not Job.objects.exists()


def test_a_live_recording_is_stored_despite_a_full_queue(owner: User, settings: Any, wav: Path) -> None:
    settings.JOBS_WAITING = 1
    jobs.submit(user=owner, kind="plan", title="waits", spec={})
    with pytest.raises(jobs.TooManyJobs):
        intake.create_recording(user=owner, name="sent.wav", source=wav)
    assert wav.is_file()
    kept = sessions.save(user=owner, path=wav, engine="auto", language="en")
    assert kept.now == Recording.State.WORKING and not wav.exists()


def test_a_lock_after_the_commit_loses_no_upload(owner: User, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked() -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(jobs, "send_waiting", locked)
    content = wav.read_bytes()
    made = intake.create_recording(user=owner, name="sent.wav", source=wav)
    assert (made.path / "original.wav").read_bytes() == content and not wav.exists()
    assert Job.objects.get().state == Job.State.QUEUED
