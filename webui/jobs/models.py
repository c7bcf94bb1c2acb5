"""Jobs and their events, heartbeats of workers, quotas and usage."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from webui.organizations.access import Things, shared_with
from webui.translation import explained, shown


class Job(models.Model):
    """Work that continues after the page that started it is closed. Only ``webui.jobs.services`` changes its state.

    queued -> running -> done | failed | interrupted; running -> cancelling -> cancelled; queued -> cancelled;
    running -> queued (once) if the worker was killed.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        CANCELLING = "cancelling", _("Cancelling")
        CANCELLED = "cancelled", _("Cancelled")
        FAILED = "failed", _("Failed")
        INTERRUPTED = "interrupted", _("Interrupted")
        DONE = "done", _("Done")

    GOING = (State.QUEUED, State.RUNNING, State.CANCELLING)
    WORKING = (State.RUNNING, State.CANCELLING)
    CAN_BE_RETRIED = (State.CANCELLED, State.FAILED, State.INTERRUPTED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=40)
    queue = models.CharField(max_length=20)  # whose django-q2 cluster runs it
    title = models.CharField(max_length=400)
    spec = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(default=timezone.now)  # the most recent time: Retry queues a job again
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    sent_at = models.DateTimeField(null=True)  # time of sending to the cluster; None while limits make it wait
    lease = models.CharField(max_length=32, default="")  # lease of its worker
    lease_until = models.DateTimeField(null=True)
    process_group = models.IntegerField(null=True)
    cluster = models.CharField(max_length=100, default="")  # cluster of its last worker (webui.jobs.queue)
    takeovers = models.IntegerField(default=0)  # number of times that a worker was killed

    stage = models.CharField(max_length=40, default="")
    message = models.CharField(max_length=400, default="")
    said = models.JSONField(null=True)  # the message's parts, if it can be translated (core.worded)
    done = models.FloatField(default=0.0)
    total = models.FloatField(default=0.0)
    eta_s = models.FloatField(null=True)
    result = models.JSONField(null=True)
    error = models.JSONField(null=True)  # what, why, what_to_do; said, if they can be translated
    traceparent = models.CharField(max_length=55, default="")  # the submitting request's (telemetry/tracing.py)
    organization = shared_with(related_name="jobs")  # the organization of the object that the job is about

    objects: ClassVar = Things["Job"].as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("user", "-created_at")),
            models.Index(fields=("state", "sent_at", "created_at")),  # for finding the next job
        )

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    def get_state_display(self) -> str:  # type: ignore[no-redef]
        """Return the state in the reader's language; Django's method builds a dictionary of all states for each job."""
        return str(self.State(self.state).label)

    @property
    def is_going(self) -> bool:
        """True if the job is queued, running or being cancelled."""
        return self.state in self.GOING

    @property
    def can_be_retried(self) -> bool:
        return self.state in self.CAN_BE_RETRIED

    @property
    def seconds(self) -> float | None:
        """Seconds of work so far; None before it has started."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def shown_message(self) -> str:
        return shown(self.said or self.message)

    @property
    def doing(self) -> str:
        """The activity of an active job in the reader's language; a default until the job reports one."""
        begins = _("Waiting for its turn") if self.state == self.State.QUEUED else _("Starting")
        return self.shown_message or str(begins)

    def snapshot(self) -> dict[str, Any]:
        """Return the fields with which a page shows the job, as JSON values."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "title": self.title,
            "state": self.state,
            "state_words": self.get_state_display(),
            "stage": self.stage,
            "message": self.shown_message,
            "done": self.done,
            "total": self.total,
            "eta_s": self.eta_s,
            "seconds": self.seconds,
            "error": explained(self.error) if self.error else None,
            "going": self.is_going,
        }


class JobEvent(models.Model):
    """A stored event of a job: stages, log lines, metrics, artifacts, errors (not progress)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    event = models.JSONField()

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(fields=("job", "id")),)

    def __str__(self) -> str:
        return str(self.event.get("event"))


def stage_times(jobs: models.QuerySet[Job]) -> Iterator[tuple[Job, str, float, float]]:
    """Yield each job's stages of its last attempt: name, start and end [s since 1970]. The last ends with the job."""
    began: dict[uuid.UUID, list[tuple[str, float]]] = defaultdict(list)
    for event in JobEvent.objects.filter(job__in=jobs.order_by(), event__event="stage").order_by("id"):
        began[event.job_id].append((event.event["name"], event.event["time"]))
    for job in jobs.only("kind", "started_at", "finished_at"):
        since = job.started_at.timestamp() if job.started_at else 0.0
        until = (job.finished_at or timezone.now()).timestamp()
        stages = [(name, at) for name, at in began[job.pk] if at >= since]
        for (name, at), (_next, end) in pairwise([*stages, ("", until)]):
            yield job, name, at, max(at, end)


class Heartbeat(models.Model):
    """The last heartbeat of a queue's workers (``webui.jobs.heartbeat``)."""

    queue = models.CharField(max_length=20, primary_key=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.queue} at {self.seen_at}"


class Quota(models.Model):
    """A user's quota or, without a user, the default. 0 means no limit; for None, :func:`limits_of` looks further."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="quota")
    disk_bytes = models.BigIntegerField(null=True)
    jobs_a_day = models.IntegerField(null=True)
    minutes_a_month = models.IntegerField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(models.Value(1), condition=models.Q(user=None), name="one_quota_of_everybody"),
        )

    def __str__(self) -> str:
        return f"quota of {self.user or 'everybody'}"


class Usage(models.Model):
    """A user's usage on a day (UTC)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="usage")
    day = models.DateField()
    jobs = models.IntegerField(default=0)  # number of jobs begun
    seconds = models.FloatField(default=0.0)  # seconds of recordings that were transcribed
    speakers = models.IntegerField(default=0)  # number of speakers in those recordings

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "day"), name="one_usage_a_day"),)

    def __str__(self) -> str:
        return f"{self.user} on {self.day}"
