"""Heartbeats of the workers of each queue, in the database, for monitoring.

A thread of the worker writes them, so that a worker with a long job counts as alive, and a killed one does not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from webui.jobs.models import Heartbeat

log = logging.getLogger(__name__)

BEATS_IN_A_LEASE = 6


def beat(queue: str) -> None:
    """Record that a worker of this queue is alive, unless another one has just done so."""
    now = timezone.now()
    just_now = now - timedelta(seconds=settings.JOBS_LEASE_S / BEATS_IN_A_LEASE / 2)
    if not Heartbeat.objects.filter(queue=queue, seen_at__gt=just_now, seen_at__lte=now).exists():
        Heartbeat.objects.update_or_create(queue=queue, defaults={"seen_at": now})


def ages(queues: Collection[str]) -> dict[str, float]:
    """Return the seconds since the last heartbeat of each queue; queues that never had one are omitted.

    A heartbeat in the future was written before the clock was set back, by a worker that has since been silent.
    """
    now = timezone.now()
    seen = Heartbeat.objects.filter(queue__in=queues).values_list("queue", "seen_at")
    return {queue: abs((now - at).total_seconds()) for queue, at in seen}


def keep_beating(**kwargs: object) -> None:
    """Start the heartbeat; called by django-q in each new worker."""
    from django_q.conf import Conf

    threading.Thread(target=_beat, args=(Conf.CLUSTER_NAME,), daemon=True).start()


def _beat(queue: str) -> None:
    while True:
        try:
            beat(queue)
        except DatabaseError as error:
            log.warning("the workers for %s could not store their heartbeat: %s", queue, error)
        finally:
            connection.close()
        time.sleep(settings.JOBS_LEASE_S / BEATS_IN_A_LEASE)
