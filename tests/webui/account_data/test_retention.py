"""Automatic deletion of old recordings and jobs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.support.detector_versions import make_version
from tests.support.earlier_recordings import ready_recording
from webui.account_data.retention import AT_ONCE, delete_what_is_old, set_retention
from webui.accounts.models import AuditEntry, User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.recordings.models import Recording

pytestmark = pytest.mark.django_db
PAGE = "/account/retention"


def days_old(days: float, *things: Recording | Job) -> None:
    at = timezone.now() - timedelta(days=days)
    for thing in things:
        of_a_recording = isinstance(thing, Recording)
        type(thing).objects.filter(pk=thing.pk).update(**{"created_at" if of_a_recording else "finished_at": at})


def ended(user: User, **fields: object) -> Job:
    values: dict[str, object] = {"kind": "plan", "queue": "general", "title": "p", "spec": {}, "state": Job.State.DONE}
    job = Job.objects.create(**{"user": user, **values, **fields})
    log = user_data(user) / "log" / f"job-{job.pk}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("said")
    return job


def test_retention_is_off_by_default(owner: User, other: User) -> None:
    for user in (owner, other):
        days_old(10_000, ready_recording(user), ended(user))
    assert delete_what_is_old() == 0
    set_retention(user=other, recordings_days=30, jobs_days=30)
    assert delete_what_is_old() == 2 and delete_what_is_old() == 0
    assert Recording.objects.get().user == Job.objects.get().user == owner


def test_old_recordings_are_deleted(other: User) -> None:
    old, young, working = (ready_recording(other, f"{name}.wav") for name in ("old", "young", "working"))
    days_old(31, old, working)
    days_old(29, young)
    going = Job.objects.create(user=other, kind="transcribe", queue="general", title="t", spec={}, state="running")
    Recording.objects.filter(pk=working.pk).update(job=going)
    set_retention(user=other, recordings_days=30, jobs_days=None)
    assert delete_what_is_old() == 1
    assert set(Recording.objects.all()) == {young, working}
    assert not old.path.exists() and young.path.exists() and working.path.exists()
    entry = AuditEntry.objects.get(action="recording_deleted")
    assert (entry.what, entry.about_name, entry.address) == (str(old.pk), "oscar", AuditEntry.MACHINE)
    Job.objects.filter(pk=going.pk).update(state="done")
    assert delete_what_is_old() == 1


def test_old_jobs_without_results_are_deleted_with_their_logs(other: User) -> None:
    old, young, trained, transcribed = (ended(other, title=title) for title in "abcd")
    going = ended(other, state=Job.State.RUNNING)
    version = make_version(other, user_data(other))
    version.job = trained
    version.save()
    recording = ready_recording(other)
    Recording.objects.filter(pk=recording.pk).update(job=transcribed)
    days_old(8, old, trained, transcribed, going)
    days_old(6, young)
    set_retention(user=other, recordings_days=None, jobs_days=7)
    assert delete_what_is_old() == 1
    kept = {young, trained, transcribed, going}
    assert kept <= set(Job.objects.all()) and not Job.objects.filter(pk=old.pk).exists()
    logs = {path.name for path in (user_data(other) / "log").iterdir()}
    assert logs == {f"job-{job.pk}.log" for job in kept}


def test_many_old_jobs_are_deleted_in_batches(other: User) -> None:
    days_old(8, *(ended(other, title=str(number)) for number in range(AT_ONCE + 3)))
    set_retention(user=other, recordings_days=None, jobs_days=7)
    assert [delete_what_is_old() for _each in range(3)] == [AT_ONCE, 3, 0]


def test_a_failed_deletion_is_retried(other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import HarkError

    def refuse(**more: object) -> None:
        raise HarkError("The disk is missing.", "It was.", "Look.")

    days_old(8, ready_recording(other))
    set_retention(user=other, recordings_days=7, jobs_days=None)
    with monkeypatch.context() as patch:
        patch.setattr("webui.recordings.deletion.delete", refuse)
        assert delete_what_is_old() == 0
    assert delete_what_is_old() == 1


def test_retention_can_be_set_on_the_page(others: Client, other: User) -> None:
    assert 'name="kept-recordings_days"' in others.get("/account/").text
    assert others.post(PAGE, {"kept-recordings_days": "90", "kept-jobs_days": ""}).status_code == 302
    other.refresh_from_db()
    assert (other.recordings_days, other.jobs_days) == (90, None)
    assert 'value="90"' in others.get("/account/").text
    for wrong in ("0", "-1", "soon", "40000"):
        assert others.post(PAGE, {"kept-recordings_days": wrong}).status_code == 422
    assert others.get(PAGE).status_code == 405
    other.refresh_from_db()
    assert other.recordings_days == 90
    assert AuditEntry.objects.get(action="retention").what == "recordings: 90, jobs: no limit"
    others.post(PAGE, {"kept-recordings_days": "", "kept-jobs_days": ""})
    other.refresh_from_db()
    assert other.recordings_days is None
