"""Automatic deletion of a user's old recordings and jobs.

It is off until the user sets a number of days. ``./hark serve`` runs it.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.jobs.services import forget
from webui.recordings import deletion
from webui.recordings.models import Recording

log = logging.getLogger(__name__)

AT_ONCE = 20  # per kind and call; the caller has other work too, and calls again


def set_retention(*, user: User, recordings_days: int | None, jobs_days: int | None) -> None:
    """Set the days after which recordings and jobs are deleted; None for never."""
    User.objects.filter(pk=user.pk).update(recordings_days=recordings_days, jobs_days=jobs_days)
    limits = f"recordings: {recordings_days or 'no limit'}, jobs: {jobs_days or 'no limit'}"
    record(Action.RETENTION, what=limits, about=user)


def delete_what_is_old() -> int:
    """Delete what has exceeded its user's retention; return the number deleted. Called every few seconds."""
    gone = 0
    for user in User.objects.filter(~Q(recordings_days=None) | ~Q(jobs_days=None), is_active=True):
        if user.recordings_days is not None:
            gone += _delete_recordings(user, user.recordings_days)
        if user.jobs_days is not None:
            gone += _delete_jobs(user, user.jobs_days)
    return gone


def _delete_recordings(user: User, days: int) -> int:
    """Delete old recordings and everything made from them; those with an active job are left for a later call."""
    old = Recording.objects.filter(user=user, created_at__lt=timezone.now() - timedelta(days=days))
    gone = 0
    for recording in old.exclude(job__state__in=Job.GOING).order_by("created_at")[:AT_ONCE]:
        try:
            deletion.delete(recording=recording)
        except HarkError as error:
            log.warning("a recording older than its user's retention could not be deleted yet: %s", error)
            continue
        gone += 1
    return gone


def _delete_jobs(user: User, days: int) -> int:
    """Delete old jobs with their logs, except those that an existing recording or version refers to."""
    before = timezone.now() - timedelta(days=days)
    old = Job.objects.filter(user=user, finished_at__lt=before, recording=None, version=None)
    ended = list(old.exclude(state__in=Job.GOING).order_by("finished_at")[:AT_ONCE])
    for job in ended:
        forget(job)
    return len(ended)
