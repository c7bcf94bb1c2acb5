"""Quotas of disk, jobs a day and minutes a month: settings, refusals and counts."""

from __future__ import annotations

import runpy
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import soundfile
from django.db import connection
from django.test import Client
from django.utils import timezone

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import silent_reporter
from pipeline.jobs import KINDS
from tests.support.hostile_files import flac_that_lies
from tests.support.portal_jobs import claimed
from tests.support.refusals import refuses
from tests.support.rendered_pages import flat
from tests.support.sounds import sound
from webui.accounts.models import AuditEntry, User
from webui.accounts.storage import forget_count, user_data
from webui.jobs import services
from webui.jobs.models import Job, Usage
from webui.jobs.quota import Limits, check_minutes, limits_of, set_quota, take_minutes, usage_of
from webui.recordings import deletion, job_results
from webui.recordings.models import Recording
from webui.recordings.transcribing import intake

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


def submit(user: User, number: int = 0) -> Job:
    return services.submit(user=user, kind="plan", title="hey compass", spec={"phrase": f"hey {number}"})


def test_by_default_only_disk_space_is_limited(owner: User, other: User, settings: Any) -> None:
    assert limits_of(owner) == Limits(None, None, None)
    assert limits_of(other) == Limits(settings.USER_MAX_BYTES, None, None)
    set_quota(None, Limits(10**9, 5, 60))
    assert limits_of(other) == Limits(10**9, 5, 60) and limits_of(owner) == Limits(None, None, None)
    set_quota(other, Limits(0, 7, None))
    assert limits_of(other) == Limits(None, 7, 60)


def test_a_disk_limit_of_0_in_the_environment_means_none(
    other: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_USER_MAX_BYTES", "0")
    settings.USER_MAX_BYTES = runpy.run_path(str(REPOSITORY / "webui" / "settings.py"))["USER_MAX_BYTES"]
    assert limits_of(other) == Limits(None, None, None)


def test_jobs_are_limited_per_day(owner: User, other: User) -> None:
    set_quota(other, Limits(None, 2, None))
    jobs = [submit(other, number) for number in range(2)]
    with refuses(429, match="all your jobs for today") as caught:
        submit(other, 2)
    assert caught.value.status == 429 and "of jobs is 2" in caught.value.why
    services.cancel(job=jobs[0])
    jobs[0].refresh_from_db()
    with refuses(429):
        services.retry(job=jobs[0])
    jobs[0].delete()
    with refuses(429):  # deleting gives none back
        submit(other, 3)
    assert submit(other, 1).pk == jobs[1].pk  # a double click makes no new job
    assert submit(owner).state == Job.State.QUEUED
    Usage.objects.update(day=timezone.now().date() - timedelta(days=1))
    assert submit(other, 4).state == Job.State.QUEUED


def test_simultaneous_retries_cannot_exceed_the_quota(other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota(other, Limits(None, 3, None))
    first, second = (submit(other, number) for number in range(2))
    Job.objects.update(state=Job.State.FAILED)
    counted = services.check_jobs

    def looked_at(user: User) -> None:
        counted(user)
        assert connection.savepoint_ids, "outside of a transaction, two retries could both pass"

    monkeypatch.setattr(services, "check_jobs", looked_at)
    for job in (first, second):
        job.refresh_from_db()
    services.retry(job=first)
    with refuses(429):
        services.retry(job=second)


def test_minutes_are_limited_per_month(other: User) -> None:
    set_quota(other, Limits(None, None, 10))
    take_minutes(other, 9 * 60)
    check_minutes(other)
    with refuses(429, match="10 min a month, with 1 min"):
        check_minutes(other, 90)
    take_minutes(other, 60)
    with refuses(429):
        check_minutes(other)
    Usage.objects.update(day=timezone.now().date().replace(day=1) - timedelta(days=1))
    check_minutes(other, 90)


def test_every_upload_path_rejects_recordings_without_minutes(others: Client, other: User) -> None:
    set_quota(other, Limits(None, None, 1))
    take_minutes(other, 60)
    begin = {"name": "a.wav", "size": 500}
    answers = [
        others.post("/recordings/upload", {"audio": sound()}, headers=JSON),
        others.post("/recordings/uploads", begin, content_type="application/json", headers=JSON),
        others.post("/api/v1/recordings", {"audio": sound()}),
    ]
    said = {(answer.status_code, answer.json()["what"]) for answer in answers}
    assert said == {(429, "You do not have enough recording minutes left.")}
    assert not Recording.objects.exists()


def test_a_failed_job_is_not_retried_without_minutes(others: Client, other: User, portal: Any) -> None:
    source = portal / "a.wav"
    source.write_bytes(sound().read())
    recording = intake.create_recording(user=other, name="a.wav", source=source)
    Job.objects.update(state=Job.State.FAILED)
    set_quota(other, Limits(None, None, 1))
    take_minutes(other, 60)
    answer = others.post(f"/jobs/{recording.job_id}/retry", headers=JSON)
    assert answer.status_code == 429 and "recording minutes" in answer.text
    assert Job.objects.get().state == Job.State.FAILED


def test_a_failed_job_is_not_retried_without_disk_quota(others: Client, other: User) -> None:
    job = submit(other)
    Job.objects.update(state=Job.State.FAILED)
    folder = user_data(other)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clip.flac").write_bytes(bytes(2000))
    forget_count(folder)
    set_quota(other, Limits(1000, None, None))
    answer = others.post(f"/jobs/{job.pk}/retry", headers=JSON)
    assert answer.status_code == 507 and Job.objects.get().state == Job.State.FAILED


def test_minutes_include_waiting_and_running_jobs(other: User, portal: Any) -> None:
    set_quota(other, Limits(None, None, 2))

    def sent(seconds: float) -> Job | None:
        source = portal / "a.wav"
        soundfile.write(source, np.zeros(round(16_000 * seconds)), 16_000)
        return intake.create_recording(user=other, name="a.wav", source=source).job

    first, second = sent(50), sent(50)
    with refuses(429, match="2 min a month, with 0 min"):
        sent(50)
    assert first and second and sent(10)
    take_minutes(other, 40)  # used in the meantime by other requests
    assert claimed(first).spec["most_s"] == 80.0
    assert claimed(second).spec["most_s"] == 30.0, "the first job may use fifty seconds"


def test_a_forged_length_header_does_not_bypass_minutes(other: User, portal: Any) -> None:
    set_quota(other, Limits(None, None, 1))
    source = portal / "a.flac"
    source.write_bytes(flac_that_lies(seconds=90, claimed_s=5))
    recording = intake.create_recording(user=other, name="a.flac", source=source)
    assert recording.job.spec["most_s"] == 60.0
    with pytest.raises(HarkError, match=r"recording minutes left.*longer than what is left \(1 min\)"):
        KINDS["transcribe"].run(recording.job.spec, user_data(other), silent_reporter())


def test_a_transcription_may_use_the_remaining_minutes(other: User, portal: Any) -> None:
    set_quota(other, Limits(None, None, 10))
    take_minutes(other, 8 * 60)
    source = portal / "a.wav"
    source.write_bytes(b"RIFF")
    recording = intake.create_recording(user=other, name="a.wav", source=source)
    assert recording.job.spec["most_s"] == 120.0
    from pipeline.recordings.transcripts.transcript import Transcript, save_transcript

    save_transcript(Transcript(90.0, "en", "x", ()), recording.path / "transcript.json")
    result = {"duration_s": 90.0, "language": "en", "engine": "x", "speakers": 0, "channels": 1, "words": 0}
    job_results.transcribed(Job(spec=recording.job.spec, result=result))
    deletion.delete(recording=recording)
    assert usage_of(other)["minutes"] == pytest.approx(9.5)


def test_the_owner_sets_quotas_and_users_see_their_own(client: Client, owner: User, other: User) -> None:
    client.force_login(owner)
    sent = {"disk_gb": "2.5", "jobs_a_day": "20", "minutes_a_month": ""}
    assert client.post("/account/users/quota", sent).status_code == 302
    assert client.post(f"/account/users/{other.pk}/quota", {**sent, "jobs_a_day": "30"}).status_code == 302
    assert limits_of(other) == Limits(2_500_000_000, 30, None)
    assert 'value="2.5"' in flat(client.get("/account/users"))
    assert 'value="30"' in flat(client.get(f"/account/users/{other.pk}"))
    wrong = client.post(f"/account/users/{other.pk}/quota", {"jobs_a_day": "-1"})
    assert wrong.status_code == 422 and limits_of(other).jobs_a_day == 30
    assert client.post("/account/users/quota", {"jobs_a_day": "-1"}).status_code == 422
    assert client.post(f"/account/users/{owner.pk}/quota", sent).status_code == 404
    assert [entry.action for entry in AuditEntry.objects.all()] == ["quota", "quota"]
    client.force_login(other)
    submit(other)
    page = flat(client.get("/account/"))
    assert "<td>1</td><td>30</td>" in page and "2.5" in page
    assert client.post("/account/users/quota", sent).status_code == 403
    assert client.post(f"/account/users/{other.pk}/quota", sent).status_code == 403
