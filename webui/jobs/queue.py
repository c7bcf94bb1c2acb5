"""Delivery of tasks to the workers of a queue, through the database or, with REDIS_URL, Redis."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

CLUSTER = "HARK_CLUSTER"  # set by webui.jobs.cluster for the workers that it starts


def this_cluster() -> str:
    """Return the ID of the cluster that this worker belongs to, "host:process"; "" outside of workers."""
    return os.environ.get(CLUSTER, "")


def enqueue(task: str, identifier: UUID, queue: str, lost: Callable[[], object] = lambda: None) -> None:
    """Send a task to the workers of a queue in this transaction; through Redis once it is committed.

    ``lost`` is called if Redis does not accept it. Never raises, because the database records which tasks are due.
    """
    from django_q.tasks import async_task

    send = partial(async_task, task, str(identifier), q_options={"cluster": queue})
    if settings.REDIS:
        transaction.on_commit(partial(_send, send, lost))
    else:
        send()


def _send(send: Callable[[], object], lost: Callable[[], object]) -> None:
    from redis.exceptions import RedisError

    try:
        send()
    except RedisError as error:
        log.warning("Redis did not accept a task; it will be sent again: %s", error)
        lost()
