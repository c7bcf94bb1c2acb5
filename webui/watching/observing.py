"""Health checks and metrics for monitoring: ``/live``, ``/ready`` and ``/metrics``.

The endpoints of earlier systems below ``/api/v1/`` return the same.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from core.errors import HarkError
from pipeline.jobs import QUEUES, WEBHOOKS
from pipeline.recordings import summarization
from pipeline.recordings.transcription import registry
from webui.accounts.models import User
from webui.api.endpoints import endpoint
from webui.http.errors import StatusError
from webui.http.middleware import Middleware
from webui.jobs import heartbeat
from webui.jobs.models import Heartbeat
from webui.jobs.services import stuck_queues
from webui.servers import check_redis
from webui.watching.metrics import REQUESTS, Disk, Installation, Jobs
from webui.webhooks.services import stuck as webhooks_are_stuck

log = logging.getLogger(__name__)

OK = "ok"
ASKED_BY_ADDRESS = frozenset(("/live", "/ready", "/metrics"))
MIN_FREE_BYTES = 500_000_000  # bytes on the data folder's disk below which jobs may run out of space
PATIENCE_MS = 3000  # of waiting for another writer to the database; monitors wait only slightly longer
PROBE = "ready"  # row that tests whether the database can be written
_PROBE_BYTES = 4096  # size of the file that tests whether the data folder can be written


class AnyName(Middleware):
    """Lets monitors reach each web server by its own IP address, regardless of HARK_ALLOWED_HOSTS."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path in ASKED_BY_ADDRESS:
            request.META["HTTP_HOST"] = "localhost"
        return super().__call__(request)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")  # affects only this request's connection
        Heartbeat.objects.update_or_create(queue=PROBE, defaults={"seen_at": timezone.now()})
    except DatabaseError as error:
        log.warning("the database cannot be used: %s", error)
        return "The database cannot be read and written."
    return OK


def _storage() -> str:
    """Write a file into the data folder and check the free space; return OK, or what is wrong."""
    folder = Path(settings.DATA)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        log.warning("the data folder cannot be used: %s", error)
        return "The data folder cannot be written."
    if free < MIN_FREE_BYTES:
        return f"The data folder's disk has {free // 1_000_000} MB left; {MIN_FREE_BYTES // 1_000_000} are needed."
    return OK


def _queue() -> str:
    try:
        check_redis()
    except HarkError as error:
        log.warning("%s %s", error.what, error.why)
        return "Redis does not answer."
    return OK


def _workers(queue: str) -> str:
    """Check that a worker of the queue has reported within the duration of a lease, and that the queue moves."""
    try:
        age = heartbeat.ages([queue]).get(queue)
        stuck = webhooks_are_stuck() if queue == WEBHOOKS else queue in stuck_queues()
    except DatabaseError:
        return "Not known without the database."
    if age is None:
        return "No worker of this queue has ever reported."
    if age > settings.JOBS_LEASE_S:
        return f"No worker of this queue has reported for {age:.0f} seconds."
    return "The workers of this queue take no jobs." if stuck else OK


def can_recognize() -> bool:
    return any(engine.available().ok for engine in registry.engines())


def can_summarize() -> bool:
    return any(engine.available().ok for engine in summarization.engines())


NEEDED: dict[str, Callable[[], str]] = {
    "database": _database,
    "storage": _storage,
    **({"queue": _queue} if settings.REDIS else {}),
    **{f"workers_{queue}": partial(_workers, queue) for queue in QUEUES},
    "recognition": lambda: OK if can_recognize() else "No recognizer is ready.",
}
PARTS: dict[str, Callable[[], str]] = {
    **NEEDED,
    "ffmpeg": lambda: (
        OK if shutil.which("ffmpeg") and shutil.which("ffprobe") else "ffmpeg or ffprobe is not installed."
    ),
    "summaries": lambda: OK if can_summarize() else "No summarizer is ready.",
}


def parts() -> dict[str, str]:
    return {name: check() for name, check in PARTS.items()}


@endpoint("GET")
def live(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /live``: the process responds."""
    return JsonResponse({"status": "alive"})


@endpoint("GET")
def ready(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /ready``: 200 if jobs are accepted and processed, otherwise 503.

    Each part has "ok" or the reason.
    """
    states = parts()
    good = all(states[name] == OK for name in NEEDED)
    content = {"status": "ready" if good else "not ready", **_shown(states)}
    return JsonResponse(content, status=200 if good else 503)


@endpoint("GET")
def health(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /api/v1/health``: always 200; includes optional parts."""
    states = parts()
    good = all(state == OK for state in states.values())
    return JsonResponse({"status": "healthy" if good else "degraded", **_shown(states)})


def _shown(states: dict[str, str]) -> dict[str, dict[str, bool] | dict[str, str]]:
    return {"checks": {name: state == OK for name, state in states.items()}, "parts": states}


@endpoint("GET")
def metrics(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /metrics``, for Prometheus with HARK_METRICS_TOKEN as a bearer token, and for the owner."""
    _check_may_watch(request)
    registry = _registry(Jobs(), Installation())
    registry.register(Disk())
    ProcessCollector(registry=registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _check_may_watch(request: HttpRequest) -> None:
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        may = constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    else:
        may = isinstance(request.user, User) and request.user.is_owner
    if not may and settings.METRICS_TOKEN:
        raise StatusError(
            401,
            "The metrics require authentication.",
            "The request has no valid token, and no session of the owner.",
            "Send Authorization: Bearer with the value of HARK_METRICS_TOKEN.",
        )
    if not may:
        raise StatusError(
            404,
            "The metrics are not available.",
            "Only the owner can read them, because HARK_METRICS_TOKEN is not set.",
            "Set HARK_METRICS_TOKEN, or sign in as the owner.",
        )


@endpoint("GET")
def open_metrics(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /api/v1/metrics``, an earlier system's endpoint, with the requests of this process."""
    _check_may_watch(request)
    content = generate_latest(_registry(Jobs())) + generate_latest(REQUESTS)
    return HttpResponse(content, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _registry(*figures: Collector) -> CollectorRegistry:
    """Register the checks of the parts, and ``figures`` if the database is usable."""
    registry = CollectorRegistry()
    gauge = Gauge("hark_check", "1 if a part works, otherwise 0.", ("part",), registry=registry)
    states = parts()
    for name, state in states.items():
        gauge.labels(name).set(state == OK)
    if states["database"] == OK:
        for collector in figures:
            registry.register(collector)
    return registry
