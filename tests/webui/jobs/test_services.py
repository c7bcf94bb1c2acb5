"""Changes of a job's state, allowed and forbidden."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from pipeline.job_process import finished_file
from pipeline.jobs import TRAINING_STAGES
from tests.support.constants import replace_in
from tests.support.portal_jobs import claimed
from tests.support.refusals import refuses
from webui.accounts.models import User
from webui.accounts.storage import forget_count, user_data
from webui.jobs import services
from webui.jobs.models import Job
from webui.jobs.quota import check_room

pytestmark = pytest.mark.django_db(transaction=True)  # jobs are sent when their transaction has ended


def submit(user: User, number: int = 0) -> Job:
    return services.submit(user=user, kind="train", title=f"phrase {number}", spec={"choices": {"phrase": str(number)}})


@pytest.mark.parametrize(
    ("kind", "spec", "missing"),
    [
        ("train", {"choices": {"phrase": "p", "size": "large"}}, {"train", "enable", "devices"}),
        ("train", {"choices": {"phrase": "p", "size": "large", "devices": ["esphome"]}}, {"enable", "train"}),
        ("train", {"choices": {"phrase": "p", "size": "standard"}}, {"enable", "devices"}),
        ("train", {"choices": {"phrase": "p", "from_scratch": True}, "install_voices": True}, {"devices"}),
        ("retrain", {"choices": {"phrase": "p", "language": "de"}, "run": "p-1"}, {"enable", "devices"}),
        ("train", None, set()),
    ],
)
def test_the_title_says_whether_a_detector_is_trained_or_calibrated(kind: str, spec: Any, missing: set[str]) -> None:
    assert {name for name, _ in TRAINING_STAGES} - {name for name, _ in services.stages_of(kind, spec)} == missing


def lapse(job: Job) -> None:
    Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_job_is_sent_to_its_queue(owner: User) -> None:
    job = submit(owner)
    plan = services.submit(user=owner, kind="plan", title="p", spec={})
    assert [(row.key, row.task["args"]) for row in OrmQ.objects.order_by("id")] == [
        ("training", (str(job.id),)),
        ("general", (str(plan.id),)),
    ]


def test_an_identical_submission_creates_one_job(owner: User, other: User) -> None:
    assert submit(owner).id == submit(owner).id
    assert submit(other).id != submit(owner).id
    assert Job.objects.count() == 2


def written(files: list[Path]) -> None:
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for path in files:
        path.write_text("{}")


def test_results_left_by_killed_workers_are_removed(owner: User) -> None:
    left = []
    for number, state in enumerate((Job.State.DONE, Job.State.CANCELLED, Job.State.FAILED, Job.State.RUNNING)):
        job = submit(owner, number)
        Job.objects.filter(pk=job.pk).update(state=state)
        left.append(finished_file(user_data(owner), str(job.id)))
    left.append(finished_file(user_data(owner), str(uuid4())))  # the result of a part, removed with its job
    left.append(finished_file(user_data(owner), "bench"))  # belongs to no job
    written(left)
    services.forget_results()
    assert [path.exists() for path in left] == [False, False, True, True, False, True], "unfinished jobs keep theirs"


def test_a_cancelled_job_leaves_no_stored_result(owner: User, django_capture_on_commit_callbacks: Any) -> None:
    waiting, lost = submit(owner, 1), submit(owner, 2)  # both have a result from an earlier attempt
    left = [finished_file(user_data(owner), str(job.id)) for job in (waiting, lost)]
    written(left)
    lapse(claimed(lost))
    with django_capture_on_commit_callbacks(execute=True):
        services.cancel(job=waiting)
        services.cancel(job=lost)
    assert [path.exists() for path in left] == [False, True], "the second job is still held by a worker"
    with django_capture_on_commit_callbacks(execute=True):
        services.recover()
    lost.refresh_from_db()
    assert lost.state == Job.State.CANCELLED and not left[1].exists()


def test_runs_with_the_same_files_are_one_job(owner: User) -> None:
    """The targets "browser" and "pi" add no files to the bundle."""
    choices = {"phrase": "hey compass", "language": "en", "effort": "quick"}
    spec = {"choices": choices, "targets": ["browser"]}
    first = services.submit(user=owner, kind="train", title="p", spec=spec)
    again = services.submit(user=owner, kind="train", title="p", spec={**spec, "targets": ["pi"]})
    other = services.submit(user=owner, kind="train", title="p", spec={"choices": {**choices, "seed": 1}})
    assert first.id == again.id != other.id


def test_running_jobs_are_limited_per_user_and_in_total(owner: User, other: User, settings: Any) -> None:
    first = [submit(owner, number) for number in range(4)]
    submit(other, 9)
    assert OrmQ.objects.count() == settings.JOBS_RUNNING_PER_USER + 1
    submit(other, 10)
    assert OrmQ.objects.count() == settings.JOBS_RUNNING
    services.finish(claimed(first[0]), Job.State.CANCELLED)
    # its slot goes to the oldest job that may have it
    assert Job.objects.get(id=first[2].id).sent_at is not None
    assert Job.objects.get(id=first[3].id).sent_at is None


def test_a_full_queue_rejects_another_job(owner: User, settings: Any) -> None:
    settings.JOBS_WAITING = 3
    for number in range(3):
        submit(owner, number)
    with pytest.raises(services.TooManyJobs, match="Waiting jobs: 3"):
        submit(owner, 4)
    assert submit(owner, 1) is not None  # a repetition makes no new one


def test_waiting_jobs_including_retried_ones_are_limited_per_user(owner: User, other: User, settings: Any) -> None:
    settings.JOBS_WAITING_PER_USER = 3
    mine = [submit(other, number) for number in range(3)]
    with pytest.raises(services.TooManyJobs, match="Your waiting jobs: 3"):
        submit(other, 4)
    assert submit(owner, 5).state == Job.State.QUEUED  # other users' jobs have slots
    # retrying a cancelled job counts, too
    services.cancel(job=mine[0])
    submit(other, 4)
    with pytest.raises(services.TooManyJobs):
        services.retry(job=Job.objects.get(id=mine[0].id))
    assert Job.objects.get(id=mine[0].id).state == Job.State.CANCELLED


def test_disk_space_is_limited_per_user(owner: User, other: User, settings: Any) -> None:
    settings.USER_MAX_BYTES = 1000
    folder = user_data(other)
    (folder / "clips").mkdir(parents=True)
    check_room(other, 900)
    with refuses(507, match="not enough room in your storage quota"):
        check_room(other, 2000)
    check_room(owner, 2000)  # the owner of the installation has no quota
    (folder / "clips" / "a.flac").write_bytes(bytes(1000))
    forget_count(folder)
    with refuses(507, match="not enough room in your storage quota"):
        submit(other)
    (folder / "clips" / "a.flac").unlink()  # space is available again immediately
    assert submit(other).state == Job.State.QUEUED
    assert submit(owner).state == Job.State.QUEUED


def test_only_one_worker_can_claim_a_job(owner: User) -> None:
    job = submit(owner)
    assert services.claim(job.id) is not None
    assert services.claim(job.id) is None


def test_a_waiting_job_is_cancelled_immediately(owner: User) -> None:
    job = submit(owner)
    services.cancel(job=job)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert services.claim(job.id) is None
    services.retry(job=job)
    assert services.claim(job.id) is not None


def test_cancelling_a_running_job_asks_its_worker_to_stop(owner: User) -> None:
    job = claimed(submit(owner))
    services.cancel(job=job)
    assert services.renew(job) == Job.State.CANCELLING
    services.cancel(job=job)  # twice does no harm
    services.retry(job=job)
    assert services.renew(job) == Job.State.CANCELLING


def test_a_lease_that_expired_during_a_lock_can_be_renewed(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(submit(owner))
    lapse(job)
    replace_in(services, monkeypatch, LOCKED_S=-1.0, _locked_until=None)  # every write counts as delayed by a lock
    assert services.recover() == 0 and services.renew(job) == Job.State.RUNNING
    lapse(job)
    monkeypatch.setattr(services, "LOCKED_S", 60.0)
    assert services.recover() == 0
    monkeypatch.setattr(services, "_locked_until", time.monotonic() - 60.0)
    assert services.recover() == 1


def test_a_job_is_not_retried_beside_another_on_its_recording(owner: User) -> None:
    def on_recording(recording: str, kind: str) -> Job:
        return services.submit(user=owner, kind=kind, title="talk", spec={"recording": recording})

    failed = on_recording("r", "summarize")
    Job.objects.update(state=Job.State.FAILED)
    failed.refresh_from_db()
    active, _elsewhere = on_recording("r", "transcribe"), on_recording("other", "transcribe")
    with refuses(409, "Only one job can change a recording"):
        services.retry(job=failed)
    Job.objects.filter(pk=active.pk).update(state=Job.State.DONE)
    services.retry(job=failed)
    failed.refresh_from_db()
    assert failed.state == Job.State.QUEUED


def test_a_killed_workers_job_is_retried_once(owner: User) -> None:
    job = claimed(submit(owner))
    assert services.recover() == 0  # its lease is good
    lapse(job)
    assert services.recover() == 1
    assert services.recover() == 0
    again = services.claim(job.id)
    assert again.takeovers == 1
    assert services.renew(job) == ""  # if the first worker is still alive, it has lost the lease
    services.finish(job, Job.State.DONE)
    again.refresh_from_db()
    assert again.state == Job.State.RUNNING
    lapse(again)
    assert services.recover() == 1
    again.refresh_from_db()
    assert again.state == Job.State.INTERRUPTED and again.error is not None
    assert [event.event["level"] for event in again.events.all()] == ["warning", "warning"]


def test_a_clock_set_back_does_not_block_jobs(owner: User, other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    users = owner, owner, other
    dead, alive, unseen = (
        services.submit(user=user, kind="plan", title="p", spec={"n": n}) for n, user in enumerate(users)
    )
    claimed(dead)
    working = claimed(alive)
    real = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() - timedelta(hours=1))
    assert services.renew(working) == Job.State.RUNNING  # as a worker does twice a second
    Job.objects.filter(id=unseen.id).update(sent_at=real())
    OrmQ.objects.all().delete()
    assert services.recover() == 0 and OrmQ.objects.count() == 1, "a lost task is sent again"
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() - timedelta(hours=1) + timedelta(seconds=40))
    assert services.renew(working) == Job.State.RUNNING
    assert services.recover() == 1
    states = {str(job.id): job.takeovers for job in Job.objects.all()}
    assert states == {str(dead.id): 1, str(alive.id): 0, str(unseen.id): 0}


def test_a_cancelling_job_of_a_killed_worker_is_cancelled(owner: User) -> None:
    job = claimed(submit(owner))
    services.cancel(job=job)
    lapse(job)
    services.recover()
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


def test_a_job_lost_by_the_cluster_is_resent(owner: User) -> None:
    job = submit(owner)
    OrmQ.objects.all().delete()
    services.recover()
    assert OrmQ.objects.count() == 0  # it may only be waiting for a free worker
    Job.objects.filter(id=job.id).update(sent_at=timezone.now() - timedelta(days=1))
    services.recover()
    assert OrmQ.objects.count() == 1


def test_a_queue_whose_workers_take_no_jobs_is_stuck(owner: User) -> None:
    job = submit(owner)
    assert services.stuck_queues() == set()
    Job.objects.filter(id=job.id).update(sent_at=timezone.now() - timedelta(days=1))
    assert services.stuck_queues() == {"training"}
    second = submit(owner, 1)
    assert services.claim(second.id) is not None  # its workers do take jobs
    assert services.stuck_queues() == set()
    Job.objects.filter(id=second.id).update(started_at=timezone.now() - timedelta(days=1))
    assert services.stuck_queues() == {"training"}
    assert services.claim(job.id) is not None
    assert services.stuck_queues() == set()


def test_a_queue_whose_only_worker_is_busy_is_not_stuck(owner: User, settings: Any) -> None:
    """The limit on running jobs does not matter: killing the worker's job would not help."""
    settings.WORKERS = 1
    jobs = submit(owner), submit(owner, 1)
    assert services.claim(jobs[0].id) is not None
    Job.objects.update(sent_at=timezone.now() - timedelta(days=1), started_at=timezone.now() - timedelta(days=1))
    assert services.stuck_queues() == set()
    settings.WORKERS = 2
    assert services.stuck_queues() == {"training"}


def test_an_old_task_cannot_start_a_job_held_by_limits(owner: User) -> None:
    job = submit(owner)
    Job.objects.filter(id=job.id).update(sent_at=None)
    assert services.claim(job.id) is None


def test_only_the_lease_holder_writes_events(owner: User) -> None:
    job = claimed(submit(owner))
    stage = {"event": "stage", "time": 1.0, "name": "train", "message": "Training"}
    services.record(job, [stage, {"event": "progress", "time": 2.0, "done": 3, "total": 10, "eta_s": 4.0}])
    job.refresh_from_db()
    assert (job.stage, job.done, job.total, job.eta_s) == ("train", 3, 10, 4.0)
    assert job.events.count() == 1
    lapse(job)
    services.recover()
    services.record(job, [stage])
    services.record(job, [{"event": "log", "time": 3.0, "message": "m", "level": "info"}])
    assert [event.event["event"] for event in job.events.order_by("id")] == ["stage", "log"]
    assert "The worker was killed" in job.events.last().event["message"]


def test_each_user_has_a_separate_data_folder(owner: User, other: User, settings: Any) -> None:
    assert user_data(owner) == settings.DATA
    assert user_data(other) == settings.DATA / "users" / str(other.pk)
