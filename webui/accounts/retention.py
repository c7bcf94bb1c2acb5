"""Recordings and jobs that a user no longer wants to have: deleted by themselves when they are old enough.

Off until the user says a number of days. ``./hark serve`` sees to it.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.audio import intake
from webui.audio.models import Recording
from webui.jobs.models import Job
from webui.jobs.services import forget

log = logging.getLogger(__name__)

AT_ONCE = 20  # of each kind; whoever calls has other things to do, too, and calls again


def set_retention(*, user: User, recordings_days: int | None, jobs_days: int | None) -> None:
    """Keep them for so many days; None: until they are deleted by hand."""
    User.objects.filter(pk=user.pk).update(recordings_days=recordings_days, jobs_days=jobs_days)
    said = f"recordings: {recordings_days or 'no limit'}, jobs: {jobs_days or 'no limit'}"
    record(Action.RETENTION, what=said, about=user)


def delete_what_is_old() -> int:
    """Delete what users have said they keep no longer; how much was. Called every few seconds."""
    gone = 0
    for user in User.objects.filter(~Q(recordings_days=None) | ~Q(jobs_days=None), is_active=True):
        if user.recordings_days is not None:
            gone += _delete_recordings(user, user.recordings_days)
        if user.jobs_days is not None:
            gone += _delete_jobs(user, user.jobs_days)
    return gone


def _delete_recordings(user: User, days: int) -> int:
    """With all that was made of them, as by hand. One that is being worked on waits."""
    old = Recording.objects.filter(user=user, created_at__lt=timezone.now() - timedelta(days=days))
    gone = 0
    for recording in old.exclude(job__state__in=Job.GOING).order_by("created_at")[:AT_ONCE]:
        try:
            intake.delete(recording=recording)
        except HarkError as error:
            log.warning("a recording that is to go is not deleted yet: %s", error)
            continue
        gone += 1
    return gone


def _delete_jobs(user: User, days: int) -> int:
    """With their logs. A job that a recording or a version comes from stays with it."""
    before = timezone.now() - timedelta(days=days)
    old = Job.objects.filter(user=user, finished_at__lt=before, recording=None, version=None)
    ended = list(old.exclude(state__in=Job.GOING).order_by("finished_at")[:AT_ONCE])
    for job in ended:
        forget(job)
    return len(ended)
