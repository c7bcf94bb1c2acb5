"""django-q's queue for workers of several processes and machines, each of which takes a job when it has a free worker.

A task is delivered once. ``webui.jobs.services`` sends it again if Redis or a worker loses it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.signing import BadSignature, SignedPackage

from core.child_process import signal_group
from pipeline.jobs import WEBHOOKS
from webui.jobs.models import Job
from webui.jobs.queue import this_cluster

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 2.0  # seconds until the next attempt if a server does not respond
Tasks = list[tuple[object, bytes]]


class OneAtATime(Broker):
    """Takes one job at a time, and the next only after a worker has begun it.

    A job taken while all workers of this cluster are busy would wait here although workers elsewhere are idle.
    """

    away: tuple[type[Exception], ...] = (DatabaseError,)  # raised if a server does not respond
    _last_task: tuple[str, datetime, float] | None = None  # the last job, when it was sent, and when it was taken

    def dequeue(self) -> Tasks | None:
        """Return the next task; None if none arrives for a while."""
        try:
            if Conf.CLUSTER_NAME == WEBHOOKS:  # its tasks are deliveries, not jobs
                return super().dequeue()
            if not self._wants_more():
                time.sleep(Conf.POLL)
                return None
            tasks = super().dequeue()
            for _number, package in tasks or ():
                try:
                    job_id = SignedPackage.loads(package)["args"][0]
                except BadSignature:  # signed with a previous key: django-q drops the task, and Hark sends it again
                    continue
                sent_at = (
                    Job.objects.filter(id=job_id, state=Job.State.QUEUED).values_list("sent_at", flat=True).first()
                )
                self._last_task = (job_id, sent_at, time.monotonic()) if sent_at else None
            return tasks
        except self.away as error:
            log.warning("the workers for %s cannot fetch tasks: %s", Conf.CLUSTER_NAME, error)
            connection.close()
            time.sleep(AGAIN_AFTER_S)
            return None

    def _wants_more(self) -> bool:
        close_old_connections()
        if self._last_task is not None:
            job_id, sent_at, at = self._last_task
            if Job.objects.filter(id=job_id, state=Job.State.QUEUED, sent_at=sent_at).exists():
                self._end_if_stuck(job_id, at)
                return False
            self._last_task = None
        return self._busy() < Conf.WORKERS

    def _busy(self) -> int:
        return Job.objects.filter(cluster=this_cluster(), state__in=Job.WORKING).count()

    def _end_if_stuck(self, job_id: str, since: float) -> None:
        """End this cluster if a worker was killed while it waited for a task.

        Such a worker holds the lock of their queue, so the others get no tasks. The process that started the cluster
        restarts it.
        """
        if time.monotonic() - since > 2 * settings.JOBS_LEASE_S and self._busy() < Conf.WORKERS:
            log.error("The workers for %s take no jobs.", Conf.CLUSTER_NAME)
            Job.objects.filter(id=job_id, state=Job.State.QUEUED).update(sent_at=None)
            signal_group(os.getpgrp(), signal.SIGKILL)


class DatabaseBroker(OneAtATime, ORM):
    """The queue in the database."""
