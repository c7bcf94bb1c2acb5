"""Figures for Prometheus: the requests that this process has answered, and the jobs of the whole installation.

Requests are counted here, since one process serves the web; jobs are worked on elsewhere, and are looked up in the
database. Sums of all users, and no names.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
from django.conf import settings
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
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
        """Called by prometheus_client for each answer."""
        from webui.audio.models import Recording
        from webui.jobs.models import Job

        going = GaugeMetricFamily("hark_jobs", "Jobs that wait or are at work.", labels=("lane", "state"))
        rows = Job.objects.filter(state__in=Job.GOING).values("lane", "state").order_by().annotate(n=Count("id"))
        counts = {(row["lane"], row["state"]): row["n"] for row in rows}
        for lane in ("training", "audio"):
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
