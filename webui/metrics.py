"""Figures for Prometheus: the requests that this process has answered, and the jobs of the whole installation.

Requests are counted here; everything else is looked up in the database and on the disk whenever somebody asks, so that
all processes say the same. Sums of all users, and no names.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from django.conf import settings
from django.db.models import Count, Min, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webui.logs import METHODS

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 300.0)
LOOKED_BACK = timedelta(hours=1)

disable_created_metrics()
REQUESTS = CollectorRegistry()
_ANSWERED = Counter("hark_http_requests", "Requests answered.", ("method", "view", "status"), registry=REQUESTS)
_SECONDS = Histogram(
    "hark_http_request_seconds", "From a request to its answer.", ("method", "view"), registry=REQUESTS,
    buckets=BUCKETS_S,
)  # fmt: skip


class CountRequests:
    """Middleware: how long each answer took, and what it was."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        method = request.method if request.method in METHODS else "other"  # a caller may invent methods and addresses
        view = request.resolver_match.view_name if request.resolver_match else "none"
        _ANSWERED.labels(method, view, response.status_code).inc()
        _SECONDS.labels(method, view).observe(time.perf_counter() - began)
        return response


class Jobs(Collector):
    """How many jobs wait and run, and of the last hour how many ended, how, and how long they took."""

    def collect(self) -> Iterator[Metric]:
        from pipeline.jobs import AUDIO, TRAINING
        from webui.audio.models import Recording
        from webui.jobs.models import Job

        going = GaugeMetricFamily("hark_jobs", "Jobs that wait or are at work.", labels=("lane", "state"))
        rows = Job.objects.filter(state__in=Job.GOING).values("lane", "state").order_by().annotate(n=Count("id"))
        counts = {(row["lane"], row["state"]): row["n"] for row in rows}
        for lane in (TRAINING, AUDIO):
            for state in Job.GOING:
                going.add_metric((lane, state.value), counts.get((lane, state.value), 0))
        yield going
        yield GaugeMetricFamily("hark_jobs_running_limit", "How many may run in a lane.", settings.JOBS_RUNNING)
        yield GaugeMetricFamily("hark_jobs_waiting_limit", "How many may wait.", settings.JOBS_WAITING)

        since = timezone.now() - LOOKED_BACK
        ended: dict[tuple[str, str], int] = defaultdict(int)
        worked: dict[str, list[float]] = defaultdict(list)
        past = Job.objects.filter(finished_at__gte=since).values_list("kind", "state", "started_at", "finished_at")
        for kind, how_ended, began, finished in past.order_by():
            ended[kind, how_ended] += 1
            if how_ended == Job.State.DONE and began is not None and finished is not None:
                worked[kind].append((finished - began).total_seconds())
        how = GaugeMetricFamily("hark_jobs_ended", "Jobs that ended in the last hour.", labels=("kind", "state"))
        for labels, number in sorted(ended.items()):
            how.add_metric(labels, number)
        yield how
        took = GaugeMetricFamily(
            "hark_job_seconds", "How long jobs that were done in the last hour took.", labels=("kind", "quantile")
        )
        for kind, seconds in sorted(worked.items()):
            for quantile in (0.5, 0.95):
                took.add_metric((kind, str(quantile)), float(np.quantile(seconds, quantile)))
        yield took
        transcribed = Recording.objects.filter(job__finished_at__gte=since, job__state=Job.State.DONE)
        yield GaugeMetricFamily(
            "hark_transcribed_seconds", "Sound that was transcribed in the last hour.",
            transcribed.aggregate(s=Sum("duration_s"))["s"] or 0.0,
        )  # fmt: skip


class Installation(Collector):
    """What only the owner sees: queues, all jobs that are kept, stages, failures, and uploads."""

    def collect(self) -> Iterator[Metric]:
        since = timezone.now() - LOOKED_BACK
        yield from _queues()
        yield _kept_jobs()
        yield _stages(since)
        yield _memory(since)
        yield _failures(since)
        yield from _recordings(since)


class Disk(Collector):
    """The data folder's."""

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client for each answer; says nothing where the folder is gone."""
        try:
            usage = shutil.disk_usage(settings.DATA)
        except OSError:
            return
        yield GaugeMetricFamily("hark_disk_bytes", "Of the data folder's disk.", usage.total)
        yield GaugeMetricFamily("hark_disk_free_bytes", "What is left of it.", usage.free)


def _queues() -> Iterator[Metric]:
    from webui.api.models import Delivery
    from webui.jobs import heartbeat
    from webui.jobs.models import Job
    from webui.jobs.services import LANES, WEBHOOKS

    now = timezone.now()
    queued = Job.objects.filter(state=Job.State.QUEUED).values("lane").order_by()
    waiting = {row["lane"]: (row["n"], row["at"]) for row in queued.annotate(n=Count("id"), at=Min("queued_at"))}
    messages = Delivery.objects.filter(state=Delivery.State.WAITING).aggregate(n=Count("id"), at=Min("created_at"))
    waiting[WEBHOOKS] = messages["n"], messages["at"]
    depth = GaugeMetricFamily("hark_queue_depth", "Jobs (webhooks: messages) that wait in a queue.", labels=("lane",))
    oldest = GaugeMetricFamily("hark_queue_oldest_seconds", "How long the oldest has waited.", labels=("lane",))
    for lane in LANES:
        number, at = waiting.get(lane, (0, None))
        depth.add_metric((lane,), number)
        oldest.add_metric((lane,), max(0.0, (now - at).total_seconds()) if at else 0.0)
    yield depth
    yield oldest
    seen = GaugeMetricFamily(
        "hark_worker_seen_seconds", "How long ago a worker of a queue was heard of.", labels=("lane",)
    )
    for lane, age in sorted(heartbeat.ages(LANES).items()):
        seen.add_metric((lane,), age)
    yield seen


def _kept_jobs() -> Metric:
    from webui.jobs.models import Job

    kept = GaugeMetricFamily("hark_jobs_kept", "All jobs in the database.", labels=("kind", "state"))
    for row in Job.objects.values("kind", "state").order_by("kind", "state").annotate(n=Count("id")):
        kept.add_metric((row["kind"], row["state"]), row["n"])
    return kept


def _stages(since: datetime) -> Metric:
    """From one stage's beginning to the next one's, or to the end of the job; of its last try only."""
    from webui.jobs.models import Job, JobEvent

    ended = Job.objects.filter(finished_at__gte=since, started_at__isnull=False)
    began: dict[object, list[tuple[str, float]]] = defaultdict(list)
    stages = JobEvent.objects.filter(job__in=ended.order_by(), event__event="stage").order_by("id")
    for job_id, event in stages.values_list("job_id", "event"):
        began[job_id].append((event["name"], event["time"]))
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for job_id, kind, started_at, finished_at in ended.values_list("id", "kind", "started_at", "finished_at"):
        assert started_at is not None and finished_at is not None  # the query says so
        mine = [(stage, at) for stage, at in began[job_id] if at >= started_at.timestamp()]
        for (stage, at), (_next, end) in pairwise([*mine, ("", finished_at.timestamp())]):
            took[kind, stage].append(max(0.0, end - at))
    seconds = GaugeMetricFamily(
        "hark_stage_seconds", "How long stages of the jobs that ended in the last hour took.",
        labels=("kind", "stage", "quantile"),
    )  # fmt: skip
    for (kind, stage), values in sorted(took.items()):
        for quantile in (0.5, 0.95):
            seconds.add_metric((kind, stage, str(quantile)), float(np.quantile(values, quantile)))
    return seconds


def _memory(since: datetime) -> Metric:
    from webui.jobs.models import JobEvent

    most: dict[str, int] = defaultdict(int)
    said = JobEvent.objects.filter(job__finished_at__gte=since, event__event="memory")
    for kind, event in said.values_list("job__kind", "event").order_by():
        most[kind] = max(most[kind], event["bytes"])
    memory = GaugeMetricFamily(
        "hark_job_memory_bytes",
        "The most that a process of the jobs that ended in the last hour held.",
        labels=("kind",),
    )
    for kind, size in sorted(most.items()):
        memory.add_metric((kind,), size)
    return memory


def _failures(since: datetime) -> Metric:
    from webui.jobs.models import Job

    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    failed = Job.objects.filter(finished_at__gte=since, state__in=(Job.State.FAILED, Job.State.INTERRUPTED))
    for kind, stage, state, error in failed.values_list("kind", "stage", "state", "error").order_by():
        reason = "interrupted" if state == Job.State.INTERRUPTED else reason_of(error)
        counts[kind, stage or "none", reason] += 1
    failures = GaugeMetricFamily(
        "hark_job_failures", "Jobs that failed or were interrupted in the last hour.",
        labels=("kind", "stage", "reason"),
    )  # fmt: skip
    for labels, number in sorted(counts.items()):
        failures.add_metric(labels, number)
    return failures


REASONS = {  # how the first sentence of an error begins; the sentence itself may hold a user's words
    "The job stopped because of a bug": "bug",
    "The job was stopped.": "limit",
    "The disk is full": "disk_full",
}


def reason_of(error: dict[str, str] | None) -> str:
    """A word for why a job failed; "refused" for what its user can mend."""
    what = (error or {}).get("what", "")
    return next((reason for start, reason in REASONS.items() if what.startswith(start)), "refused")


def _recordings(since: datetime) -> Iterator[Metric]:
    from webui.audio.models import Recording, UploadInProgress
    from webui.jobs.models import Job

    uploads = Recording.objects.filter(created_at__gte=since).aggregate(n=Count("id"), size=Sum("bytes"))
    yield GaugeMetricFamily("hark_uploads", "Recordings that came in the last hour.", uploads["n"])
    yield GaugeMetricFamily("hark_uploaded_bytes", "How large they were.", uploads["size"] or 0)
    yield GaugeMetricFamily("hark_uploads_going", "Uploads that are under way.", UploadInProgress.objects.count())
    transcribed = Job.objects.filter(kind="transcribe", state=Job.State.DONE, finished_at__gte=since)
    done = transcribed.values_list("started_at", "finished_at", "result").order_by()
    worked, by_engine = 0.0, defaultdict[str, float](float)
    for began, end, result in done:
        worked += (end - began).total_seconds() if began and end else 0.0
        if result:
            by_engine[result["engine"]] += result["duration_s"]
    recognized = GaugeMetricFamily(
        "hark_recognized_seconds", "Sound that each engine has recognized in the last hour.", labels=("engine",)
    )
    for engine, seconds in sorted(by_engine.items()):
        recognized.add_metric((engine,), seconds)
    yield recognized
    yield GaugeMetricFamily(
        "hark_transcribing_seconds", "How long transcriptions that were done in the last hour took.", worked
    )
