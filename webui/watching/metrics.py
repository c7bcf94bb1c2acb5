"""Metrics for Prometheus: the requests handled by this process, and the jobs of the whole installation.

Requests are counted here. Everything else is read from the database and the disk at each scrape, so that all processes
report the same values. Values are sums over all users, without names.
django-prometheus could replace only the two metrics of requests, under other names, and labels them with any method.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from django.db.models import Count, Min, Sum
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import HarkError
from pipeline.jobs import GENERAL, QUEUES, TRAINING, WEBHOOKS
from webui.http.middleware import Middleware, method_of, view_of
from webui.jobs import heartbeat
from webui.jobs.models import Job, JobEvent, stage_times
from webui.recordings.models import Recording, UploadInProgress
from webui.webhooks.models import Delivery

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 300.0)
LOOKED_BACK = timedelta(hours=1)
Values = dict[tuple[str, ...], float]  # by label values

disable_created_metrics()
REQUESTS = CollectorRegistry()
_ANSWERED = Counter("hark_http_requests", "Requests answered.", ("method", "view", "status"), registry=REQUESTS)
_SECONDS = Histogram(
    "hark_http_request_seconds", "Time from a request to its response.", ("method", "view"), registry=REQUESTS,
    buckets=BUCKETS_S,
)  # fmt: skip


class CountRequests(Middleware):
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        method, view = method_of(request), view_of(request)
        _ANSWERED.labels(method, view, response.status_code).inc()
        _SECONDS.labels(method, view).observe(time.perf_counter() - began)
        return response


class Jobs(Collector):
    """Waiting and running jobs, and the number, states and durations of those that ended in the last hour."""

    def collect(self) -> Iterator[Metric]:
        rows = Job.objects.filter(state__in=Job.GOING).values("queue", "state").order_by().annotate(n=Count("id"))
        counts: Values = {(queue, state.value): 0 for queue in (TRAINING, GENERAL) for state in Job.GOING}
        counts |= {(row["queue"], row["state"]): row["n"] for row in rows}
        yield _gauge("hark_jobs", "Jobs that are waiting or running.", ("queue", "state"), counts)
        yield GaugeMetricFamily(
            "hark_jobs_running_limit", "Maximum number of running jobs in a queue.", settings.JOBS_RUNNING
        )
        yield GaugeMetricFamily("hark_jobs_waiting_limit", "Maximum number of waiting jobs.", settings.JOBS_WAITING)

        since = timezone.now() - LOOKED_BACK
        ended: dict[tuple[str, ...], int] = defaultdict(int)
        worked: dict[tuple[str, ...], list[float]] = defaultdict(list)
        past = Job.objects.filter(finished_at__gte=since).values_list("kind", "state", "started_at", "finished_at")
        for kind, how_ended, began, finished in past.order_by():
            ended[kind, how_ended] += 1
            if how_ended == Job.State.DONE and began is not None and finished is not None:
                worked[(kind,)].append((finished - began).total_seconds())
        yield _gauge("hark_jobs_ended", "Jobs that ended in the last hour.", ("kind", "state"), ended)
        took = "Duration of the jobs completed in the last hour."
        yield _gauge("hark_job_seconds", took, ("kind", "quantile"), _quantiles(worked))
        transcribed = Recording.objects.filter(job__finished_at__gte=since, job__state=Job.State.DONE)
        yield GaugeMetricFamily(
            "hark_transcribed_seconds", "Duration of the audio transcribed in the last hour.",
            transcribed.aggregate(s=Sum("duration_s"))["s"] or 0.0,
        )  # fmt: skip


def _gauge(name: str, about: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    gauge = GaugeMetricFamily(name, about, labels=labels)
    for of, value in sorted(values.items()):
        gauge.add_metric(of, value)
    return gauge


def _quantiles(seconds: Mapping[tuple[str, ...], list[float]]) -> Values:
    return {
        (*of, str(quantile)): float(np.quantile(values, quantile))
        for of, values in seconds.items()
        for quantile in (0.5, 0.95)
    }


class Installation(Collector):
    """Metrics for the owner only: queues, all stored jobs, stages, failures, and uploads."""

    def collect(self) -> Iterator[Metric]:
        since = timezone.now() - LOOKED_BACK
        yield from _queues()
        yield _stored_jobs()
        yield _stages(since)
        yield _memory(since)
        yield _failures(since)
        yield from _recordings(since)


class Disk(Collector):
    def collect(self) -> Iterator[Metric]:
        """Report the disk's size and free space; nothing if the folder is missing."""
        try:
            usage = shutil.disk_usage(settings.DATA)
        except OSError:
            return
        yield GaugeMetricFamily("hark_disk_bytes", "Size of the data folder's disk.", usage.total)
        yield GaugeMetricFamily("hark_disk_free_bytes", "Free space on the data folder's disk.", usage.free)


def _queues() -> Iterator[Metric]:
    now = timezone.now()
    queued = Job.objects.filter(state=Job.State.QUEUED).values("queue").order_by()
    waiting = {row["queue"]: (row["n"], row["at"]) for row in queued.annotate(n=Count("id"), at=Min("queued_at"))}
    messages = Delivery.objects.filter(state=Delivery.State.WAITING).aggregate(n=Count("id"), at=Min("created_at"))
    waiting[WEBHOOKS] = messages["n"], messages["at"]
    depth: Values = {}
    oldest: Values = {}
    for queue in QUEUES:
        depth[(queue,)], at = waiting.get(queue, (0, None))
        oldest[(queue,)] = max(0.0, (now - at).total_seconds()) if at else 0.0
    yield _gauge("hark_queue_depth", "Jobs waiting in a queue (for webhooks: messages).", ("queue",), depth)
    yield _gauge("hark_queue_oldest_seconds", "Waiting time of the oldest one.", ("queue",), oldest)
    seen: Values = {(queue,): age for queue, age in heartbeat.ages(QUEUES).items()}
    yield _gauge("hark_worker_seen_seconds", "Time since a worker of a queue last reported.", ("queue",), seen)


def _stored_jobs() -> Metric:
    rows = Job.objects.values("kind", "state").order_by().annotate(n=Count("id"))
    counts: Values = {(row["kind"], row["state"]): row["n"] for row in rows}
    return _gauge("hark_jobs_kept", "All jobs in the database.", ("kind", "state"), counts)


def _stages(since: datetime) -> Metric:
    took: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job, stage, began, end in stage_times(Job.objects.filter(finished_at__gte=since, started_at__isnull=False)):
        took[job.kind, stage].append(end - began)
    about = "Duration of the stages of jobs that ended in the last hour."
    return _gauge("hark_stage_seconds", about, ("kind", "stage", "quantile"), _quantiles(took))


def _memory(since: datetime) -> Metric:
    most: dict[tuple[str, ...], int] = defaultdict(int)
    events = JobEvent.objects.filter(job__finished_at__gte=since, event__event="memory")
    for kind, event in events.values_list("job__kind", "event").order_by():
        most[(kind,)] = max(most[(kind,)], event["bytes"])
    about = "Peak memory of a process of the jobs that ended in the last hour."
    return _gauge("hark_job_memory_bytes", about, ("kind",), most)


def _failures(since: datetime) -> Metric:
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    failed = Job.objects.filter(finished_at__gte=since, state__in=(Job.State.FAILED, Job.State.INTERRUPTED))
    for kind, stage, state, error in failed.values_list("kind", "stage", "state", "error").order_by():
        reason = "interrupted" if state == Job.State.INTERRUPTED else (error or {}).get("reason", HarkError.reason)
        counts[kind, stage or "none", reason] += 1
    about = "Jobs that failed or were interrupted in the last hour."
    return _gauge("hark_job_failures", about, ("kind", "stage", "reason"), counts)


def _recordings(since: datetime) -> Iterator[Metric]:
    uploads = Recording.objects.filter(created_at__gte=since).aggregate(n=Count("id"), size=Sum("bytes"))
    yield GaugeMetricFamily("hark_uploads", "Recordings uploaded in the last hour.", uploads["n"])
    yield GaugeMetricFamily("hark_uploaded_bytes", "Bytes uploaded in the last hour.", uploads["size"] or 0)
    yield GaugeMetricFamily("hark_uploads_going", "Uploads in progress.", UploadInProgress.objects.count())
    transcribed = Job.objects.filter(kind="transcribe", state=Job.State.DONE, finished_at__gte=since)
    done = transcribed.values_list("started_at", "finished_at", "result").order_by()
    worked, by_engine = 0.0, defaultdict[tuple[str, ...], float](float)
    for began, end, result in done:
        worked += (end - began).total_seconds() if began and end else 0.0
        if result:
            by_engine[(result["engine"],)] += result["duration_s"]
    about = "Duration of the audio that each engine recognized in the last hour."
    yield _gauge("hark_recognized_seconds", about, ("engine",), by_engine)
    yield GaugeMetricFamily(
        "hark_transcribing_seconds", "Total duration of the transcriptions completed in the last hour.", worked
    )
