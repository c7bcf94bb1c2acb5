"""Deletion of an account with all its data.

Sign-in, tokens, links and webhooks of the account stop working immediately, and its name is free again. ``./hark
serve`` removes its files and rows once its jobs have ended and its open connections are closed.
"""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta

from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.hashers import make_password
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from core.errors import HarkError
from db.db_api import remove_rows
from webui.account_data.exporting import export_file
from webui.accounts.audit import Action, record
from webui.accounts.models import ApiToken, OneTimeLink, User
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.organization_management.services import leave_all
from webui.transactions import serialized
from webui.webhooks import services as webhooks
from webui.webhooks.models import Webhook

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=15)  # sockets need up to five seconds to notice that their user is deleted


def delete_account(*, user: User) -> None:
    """Close an account permanently; :func:`finish_deletions` removes its data.

    Raises HarkError if the account is the owner's.
    """
    if user.is_owner:
        raise HarkError(
            _("The owner's account cannot be deleted."),
            _("Hark needs an owner, and the owner's data belongs to the installation."),
            _("Delete individual recordings and detectors instead."),
        )
    with serialized():
        record(Action.USER_DELETED, about=user)
        for hook in Webhook.objects.filter(user=user):
            webhooks.remove(webhook=hook)
        leave_all(user=user)
        for model in (ApiToken, OneTimeLink, SocialAccount):
            model.objects.filter(user=user).delete()
        User.objects.filter(pk=user.pk).update(
            username=f"deleted {user.pk}",  # no user can choose this name, because it has a space
            email="", password=make_password(None), is_active=False,
            times_let_out=F("times_let_out") + 1, deletion_asked_at=timezone.now(),
        )  # fmt: skip
    _cancel_jobs(user)


def _cancel_jobs(user: User) -> bool:
    """Cancel the user's jobs; return True if none is active."""
    for job in Job.objects.filter(user=user, state__in=(Job.State.QUEUED, Job.State.RUNNING)):
        jobs.cancel(job=job)
    return not Job.objects.filter(user=user, state__in=Job.GOING).exists()


def finish_deletions() -> int:
    """Remove the files and rows of deleted accounts; return the number of accounts removed.

    Called every few seconds, so it retries what could not be removed before.
    """
    gone = 0
    for user in User.objects.filter(deletion_asked_at__lt=timezone.now() - PATIENCE, is_owner=False):
        if not _cancel_jobs(user):
            continue
        folder = user_data(user)
        try:
            remove_rows(folder)
            if folder.exists():
                shutil.rmtree(folder)
            export_file(user).unlink(missing_ok=True)
        except (OSError, HarkError) as error:
            log.warning("the data of a deleted account could not be removed yet: %s", error)
            continue
        with serialized():
            user.delete()
        gone += 1
    return gone
