"""How tasks get to the workers of a lane: through the database, or through Redis where REDIS_URL names one."""

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
    """The workers of a lane that one process has started, as "host:process"; "" where this process is none of them."""
    return os.environ.get(CLUSTER, "")


def enqueue(task: str, identifier: UUID, lane: str, lost: Callable[[], object] = lambda: None) -> None:
    """Give a task to the workers of a lane, in this transaction; through Redis once it is committed. ``lost``: called
    where Redis does not take it. It raises nothing: what is due stands in the database."""
    from django_q.tasks import async_task

    send = partial(async_task, task, str(identifier), q_options={"cluster": lane})
    if settings.REDIS:
        transaction.on_commit(partial(_send, send, lost))
    else:
        send()


def _send(send: Callable[[], object], lost: Callable[[], object]) -> None:
    from redis.exceptions import RedisError

    try:
        send()
    except RedisError as error:
        log.warning("Redis did not take a task, which is sent again later: %s", error)
        lost()
