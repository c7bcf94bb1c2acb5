"""Changes of jobs' states. Each is a conditional update, so only one of two concurrent changes succeeds."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from core.child_process import signal_group
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from pipeline.job_process import finished_file
from pipeline.jobs import KINDS
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.http.errors import StatusError
from webui.jobs.models import Job, JobEvent
from webui.jobs.queue import enqueue, this_cluster
from webui.jobs.quota import MAX_SECONDS_KEY, SECONDS, check_jobs, check_minutes, check_room, seconds_left, take_job
from webui.telemetry import tracing
from webui.transactions import serialized
from webui.translation import explained, shown

log = logging.getLogger(__name__)

WAIT_FOR = "wait_for"
NO_WORKER: dict[str, Any] = {"lease": "", "lease_until": None, "process_group": None}  # fields of jobs without a worker
QUEUED_AGAIN = {**NO_WORKER, "state": Job.State.QUEUED, "sent_at": None}

LOCKED_S = 2.0  # seconds; a write that takes longer waited for a lock
EVENTS = 500  # events per response

_locked_until: float | None = None  # time.monotonic(), from the writes of this process

job_ended = Signal()  # sent with ``job``, in the transaction that ends it in any state


class TooManyJobs(HarkError):
    """Raised if there are too many jobs. The response is 429."""

    status = 429


def submit(
    *,
    user: User,
    kind: str,
    title: str,
    spec: dict[str, Any],
    even_if_full: bool = False,
    organization: int | None = None,
) -> Job:
    """Queue a job. If the same job is already waiting or running (a double click), return that one.

    The job works on the data of ``user``; ``organization`` is the id of the organization with which its object is
    shared, if any. Raises TooManyJobs if too many jobs wait, and StatusError if the user's jobs today (429) or disk
    space (507) are used up.
    """
    if not even_if_full:
        check_room(user)
    with serialized():
        active_jobs = Job.objects.filter(state__in=Job.GOING)
        alike = active_jobs.filter(user=user, kind=kind).exclude(state=Job.State.CANCELLING)
        if same := next((job for job in alike if KINDS[kind].is_same(job.spec, spec)), None):
            return same
        if not even_if_full:
            check_queue(user)
        take_job(user)
        job = Job.objects.create(
            user=user, kind=kind, queue=KINDS[kind].queue, title=title[:400], spec=spec, organization_id=organization,
            traceparent=tracing.current(),
        )  # fmt: skip
        _send_after_commit()
    return job


def check_queue(user: User, coming: int = 0) -> None:
    """Check that another job may wait, in addition to ``coming`` ones that are not queued yet.

    Raises TooManyJobs if too many wait, or StatusError (429) if the quota is used up.
    """
    check_jobs(user)
    waiting = Job.objects.filter(state=Job.State.QUEUED)
    for queue, most, why in (
        (
            waiting.filter(user=user),
            settings.JOBS_WAITING_PER_USER,
            _("Your waiting jobs: %(n)d; the limit is %(most)d."),
        ),
        (waiting, settings.JOBS_WAITING, _("Waiting jobs: %(n)d; the limit is %(most)d.")),
    ):
        count = queue.count() + coming
        if count >= most:
            raise TooManyJobs(
                _("Hark is busy."), why % {"n": count, "most": most}, _("Try again when some have finished.")
            )


def stages_of(kind: str, spec: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return names and titles of a kind's stages; with a job's ``spec``, only those that it runs."""
    details = KINDS[kind]
    skipped = set() if spec is None else details.skipped(spec)
    return [(name, shown(title)) for name, title in details.stages if name not in skipped]


def active_jobs_of(ids: Iterable[str]) -> QuerySet[Job]:
    return Job.objects.filter(pk__in=list(ids), state__in=Job.GOING)


def send_waiting() -> None:
    """Send waiting jobs to the clusters, oldest first, as limits and :data:`WAIT_FOR` (job ids in the spec) allow."""
    with serialized():
        sent = Job.objects.filter(state__in=Job.GOING, sent_at__isnull=False)
        by_queue: Counter[str] = Counter()
        by_user: Counter[tuple[str, int]] = Counter()
        for queue, user_id in sent.values_list("queue", "user_id"):
            by_queue[queue] += 1
            by_user[queue, user_id] += 1
        waits: list[UUID] = []
        while job := _next_waiting(by_queue, by_user, waits):
            if active_jobs_of(job.spec.get(WAIT_FOR, ())).exists():
                waits.append(job.id)
                continue
            by_queue[job.queue] += 1
            by_user[job.queue, job.user_id] += 1
            Job.objects.filter(id=job.id).update(sent_at=timezone.now())
            # If Redis does not accept the task, the next call tries again.
            not_sent = partial(Job.objects.filter(id=job.id, state=Job.State.QUEUED).update, sent_at=None)
            enqueue("webui.jobs.supervise.run", job.id, job.queue, lost=not_sent)


def _send_after_commit() -> None:
    """Send after the transaction; if that fails, the next :func:`recover` sends the jobs."""
    transaction.on_commit(send_waiting, robust=True)


def _next_waiting(by_queue: Mapping[str, int], by_user: Mapping[tuple[str, int], int], waits: list[UUID]) -> Job | None:
    waiting = Job.objects.filter(state=Job.State.QUEUED, sent_at__isnull=True).exclude(id__in=waits)
    waiting = waiting.exclude(queue__in=[queue for queue, sent in by_queue.items() if sent >= settings.JOBS_RUNNING])
    for (queue, user_id), sent in by_user.items():
        if sent >= settings.JOBS_RUNNING_PER_USER:
            waiting = waiting.exclude(queue=queue, user_id=user_id)
    return waiting.order_by("created_at").only("id", "queue", "user_id", "spec").first()


def claim(job_id: UUID | str) -> Job | None:
    """Take a queued job to work on it; return None if it is not queued."""
    now = timezone.now()
    mine = Job.objects.filter(id=job_id, state=Job.State.QUEUED, sent_at__isnull=False).update(
        state=Job.State.RUNNING,
        lease=uuid4().hex,
        cluster=this_cluster(),
        lease_until=now + timedelta(seconds=settings.JOBS_LEASE_S),
        started_at=now,
        finished_at=None,
        error=None,
        process_group=None,
    )
    if not mine:
        return None
    job = Job.objects.select_related("user").get(id=job_id)
    if job.spec.get(MAX_SECONDS_KEY) is not None:  # the rest of the quota may have changed since the job was queued
        job.spec = {**job.spec, MAX_SECONDS_KEY: seconds_left(job.user, job)}
        job.save(update_fields=["spec"])
    return job


def renew(job: Job) -> str:
    """Renew the lease if it is due; return the job's state, or "" if another worker has the job."""
    lease = timedelta(seconds=settings.JOBS_LEASE_S)
    until = timezone.now() + lease
    mine = Job.objects.filter(id=job.id, lease=job.lease, state__in=Job.WORKING)
    row = mine.values_list("state", "lease_until").first()
    if row is None:
        return ""
    state, lasts = row
    # A lease that ends after ``until`` was written before the clock was set back, so it must be renewed.
    fresh = lasts is not None and until - lease / 6 < lasts <= until
    return str(state) if fresh or mine.update(lease_until=until) else ""


def record(job: Job, events: Iterable[dict[str, Any]]) -> None:
    """Store the events of a job in one transaction."""
    rows: list[JobEvent] = []
    fields: dict[str, Any] = {}
    for event in events:
        kind = event.get("event")
        if kind == "progress":
            fields.update(done=event["done"], total=event["total"], eta_s=event["eta_s"])
            continue
        if kind == "result":
            fields["result"] = event["result"]
            continue
        if kind == "stage":
            fields.update(stage=event["name"], message=event["message"][:400], said=event.get("said"))
            fields.update(done=0.0, total=0.0, eta_s=None)
        elif kind == "error":
            sentences = ("what", "why", "what_to_do", "said", "reason")
            fields["error"] = {name: event[name] for name in sentences if name in event}
        rows.append(JobEvent(job=job, event=event))
    with transaction.atomic():  # not serialized(), because it changes only rows of this job
        mine = Job.objects.filter(id=job.id, lease=job.lease)
        if not (mine.update(**fields) if fields else mine.exists()):
            return  # another worker has it
        JobEvent.objects.bulk_create(rows)


def finish(job: Job, state: str, error: HarkError | None = None) -> None:
    """End a job of this worker, send :data:`job_ended`, and let the next one begin."""
    with serialized():
        fields: dict[str, Any] = {"state": state, "finished_at": timezone.now(), "eta_s": None, "process_group": None}
        if error is not None:
            fields["error"] = error.parts()
        if not Job.objects.filter(id=job.id, lease=job.lease, state__in=Job.WORKING).update(**fields):
            return
        job.refresh_from_db()
        _ended(job)
    send_waiting()


def _ended(job: Job) -> None:
    """Announce the end of a job within its transaction, and remove the leftover result of a cancelled job.

    If a handler raises HarkError, the changes of all handlers are undone, and the job fails with that error.
    """
    if job.state == Job.State.CANCELLED:
        transaction.on_commit(partial(finished_file(user_data(job.user), str(job.pk)).unlink, missing_ok=True))
    try:
        with serialized():  # a savepoint
            job_ended.send(Job, job=job)
    except HarkError as error:
        log.warning("the result of job %s cannot be applied: %s", job.pk, error)
        if job.state != Job.State.FAILED:
            Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED, error=error.parts())
            job.refresh_from_db()
            _ended(job)


def take_up_again(job: Job, why: str) -> bool:
    """Queue a running job again after its process was killed; return False if that has already happened once."""
    with serialized():
        mine = Job.objects.filter(id=job.id, lease=job.lease, state=Job.State.RUNNING, takeovers=0)
        if not mine.update(**QUEUED_AGAIN, queued_at=timezone.now(), takeovers=1):
            return False
        _warn(job, worded("%(why)s The job continues from where it stopped.", why=why))
        _send_after_commit()
    return True


def _warn(job: Job, message: str) -> None:
    events: list[dict[str, Any]] = []
    Reporter(events.append).log(message, "warning")
    JobEvent.objects.create(job=job, event=events[0])


def give_back(job: Job) -> None:
    """Queue a running job again because its worker is being stopped. The next worker continues it."""
    mine = Job.objects.filter(id=job.id, lease=job.lease, state=Job.State.RUNNING)
    mine.update(**QUEUED_AGAIN, queued_at=timezone.now())


def cancel(*, job: Job) -> None:
    """Cancel a job: a waiting one immediately, a running one when its supervisor notices it."""
    with serialized():
        ended = Job.objects.filter(id=job.id, state=Job.State.QUEUED).update(
            state=Job.State.CANCELLED, finished_at=timezone.now(), sent_at=None
        )
        if ended:
            _ended(Job.objects.get(id=job.id))
        else:
            Job.objects.filter(id=job.id, state=Job.State.RUNNING).update(state=Job.State.CANCELLING)
    if ended:
        send_waiting()


def forget(job: Job) -> None:
    """Delete an ended job with its log."""
    log_of(job).unlink(missing_ok=True)
    finished_file(user_data(job.user), str(job.pk)).unlink(missing_ok=True)
    Job.objects.filter(pk=job.pk).exclude(state__in=Job.GOING).delete()


def retry(*, job: Job) -> None:
    """Queue an unsuccessful job again. It continues from where it stopped.

    Raises the errors of :func:`submit`, and StatusError: 429 if this month's minutes are used up, 409 if another job is
    active on its recording.
    """
    spec = job.spec
    if job.can_be_retried:
        check_room(job.user)
    with serialized():  # so that two retries cannot both use the rest of the quota
        if job.can_be_retried:
            beside = Job.objects.filter(user=job.user, state__in=Job.GOING, spec__recording=spec.get("recording"))
            if "recording" in spec and beside.exists():
                raise StatusError(
                    409, _("The job cannot be retried."), _("Only one job can change a recording at a time."),
                    _("Wait, or cancel the job."),
                )  # fmt: skip
            if MAX_SECONDS_KEY in spec:
                check_minutes(job.user, spec.get(SECONDS, 0.0))
                spec = {**spec, MAX_SECONDS_KEY: seconds_left(job.user)}
            check_queue(job.user)
        again = Job.objects.filter(id=job.id, state__in=Job.CAN_BE_RETRIED).update(
            state=Job.State.QUEUED, queued_at=timezone.now(), sent_at=None, error=None, result=None, finished_at=None,
            takeovers=0, done=0.0, total=0.0, stage="", message="", said=None, spec=spec,
        )  # fmt: skip
        if again:
            take_job(job.user)
    send_waiting()


def interrupted(why: str) -> HarkError:
    return HarkError(worded("The job was interrupted."), why, worded("Retry continues from where it stopped."))


def recover() -> int:
    """Queue again the jobs whose worker was killed, so that their lease expired; return their number.

    This happens once per job; the second time, the job is interrupted, and a user decides. ``./hark serve`` calls this
    every few seconds. Simultaneous calls are safe.
    """
    global _locked_until
    now, began = timezone.now(), time.monotonic()
    lease = timedelta(seconds=settings.JOBS_LEASE_S)
    try:
        # A longer lease was written before the clock was set back; live workers renew it.
        Job.objects.filter(state__in=Job.WORKING, lease_until__gt=now + lease).update(lease_until=now + lease)
    finally:
        if time.monotonic() - began > LOCKED_S:
            _locked_until = time.monotonic()
    # Live workers could not renew their leases while the database was locked, and do so now.
    renewed = _locked_until is None or time.monotonic() - _locked_until > settings.JOBS_LEASE_S / 2
    lost = list(Job.objects.filter(state__in=Job.WORKING, lease_until__lt=now)) if renewed else []
    count = 0
    for job in lost:
        mine = Job.objects.filter(id=job.id, lease=job.lease, state=job.state, lease_until__lt=now)
        if job.state == Job.State.CANCELLING:
            change: dict[str, Any] = {"state": Job.State.CANCELLED, "finished_at": now}
        elif job.takeovers == 0:
            change = {**QUEUED_AGAIN, "queued_at": now, "takeovers": 1}
        else:
            why = worded("Its process was killed twice (out of memory, or the machine was restarted).")
            change = {"state": Job.State.INTERRUPTED, "finished_at": now, "error": interrupted(why).parts()}
        with serialized():
            if not mine.update(**{**NO_WORKER, **change}):
                continue
            count += 1
            goes_on = change["state"] == Job.State.QUEUED
            if goes_on:
                _warn(job, worded("The worker was killed. The job continues from where it stopped."))
            else:
                _warn(job, worded("The worker was killed. The job has ended."))
                _ended(Job.objects.get(id=job.id))
        if job.process_group is not None:
            end_group(job.process_group, str(job.id))
    # These were sent to a cluster that lost them: the queue was emptied, or the worker was killed before it began. Jobs
    # with a time in the future, sent before the clock was set back, may have been lost too.
    unseen = Q(sent_at__lt=now - 4 * lease) | Q(sent_at__gt=now + lease)
    Job.objects.filter(unseen, state=Job.State.QUEUED).update(sent_at=None)
    send_waiting()
    return count


def forget_results() -> None:
    """Remove results that a worker left because it was killed just as its job was done or cancelled.

    Called every minute.
    """
    left: dict[UUID, Path] = {}
    for path in (*settings.DATA.glob("jobs/finished-*.json"), *settings.DATA.glob("users/*/jobs/finished-*.json")):
        with suppress(ValueError):
            left[UUID(path.stem.removeprefix("finished-"))] = path
    over = Job.State.DONE, Job.State.CANCELLED
    wanted = Job.objects.filter(pk__in=left).exclude(state__in=over).values_list("pk", flat=True)
    for job_id in left.keys() - set(wanted):
        left[job_id].unlink(missing_ok=True)


def log_of(job: Job) -> Path:
    """Return the path of a job's log. The log holds the job's output except events."""
    return user_data(job.user) / "log" / f"job-{job.id}.log"


def stuck_queues() -> set[str]:
    """Return the queues whose cluster has a free worker but has left a job waiting for long.

    If a worker of django-q is killed while it waits for a task, the task queue remains locked: the cluster runs, but
    does nothing until it is restarted.

    Only the number of this machine's workers is known. If that many jobs of a queue are running, on any machine, this
    counts no worker as free.
    """
    patience = timezone.now() - timedelta(seconds=2 * settings.JOBS_LEASE_S)
    waiting = (
        Job.objects.filter(state=Job.State.QUEUED, sent_at__lt=patience).values_list("queue", flat=True).distinct()
    )
    stuck = set()
    for queue in waiting:
        # These queues have no tasks except jobs.
        at_work = Job.objects.filter(queue=queue, state__in=Job.WORKING).count()
        a_worker_is_free = at_work < min(settings.JOBS_RUNNING, settings.WORKERS)
        if a_worker_is_free and not Job.objects.filter(queue=queue, started_at__gte=patience).exists():
            stuck.add(queue)
    return stuck


def end_group(process_group: int, job_id: str) -> None:
    """Kill the remaining processes of a job, if the process group still belongs to it."""
    try:
        command = Path(f"/proc/{process_group}/cmdline").read_bytes()
    except OSError:
        return
    if job_id.encode() in command:
        signal_group(process_group)


def news(job_id: UUID | str, after: int) -> dict[str, Any]:
    """Return the job and at most :data:`EVENTS` events after number ``after``; ``more`` is whether others follow.

    Raises Job.DoesNotExist if it was deleted.
    """
    job = Job.objects.get(id=job_id)
    rows = list(JobEvent.objects.filter(job_id=job_id, id__gt=after)[: EVENTS + 1])
    events = rows[:EVENTS]
    return {
        "job": job.snapshot(),
        "events": [_shown(event.event) for event in events],
        "last": events[-1].pk if events else after,
        "more": len(rows) > EVENTS,
    }


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    if event["event"] == "error":
        return {**event, **explained(event)}
    message = event.get("said") or event.get("message")
    return {**event, "message": shown(message)} if message else event
