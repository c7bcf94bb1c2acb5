"""Rotation of the secret key. It signs no user out, and seals stored secrets again with the new key.

Sessions, JSON Web Tokens and device URLs that the previous key signed work until that key expires.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.second_factor import PURPOSE as SECOND_FACTOR
from webui.jobs.models import Job
from webui.jobs.services import send_waiting
from webui.keys.sealing import Unreadable, reseal
from webui.keys.secret import NAME, forget_earlier, rotate
from webui.transactions import serialized
from webui.webhooks.models import Webhook
from webui.webhooks.services import PURPOSE as WEBHOOK

FROM_ENVIRONMENT = "HARK_SECRET_KEY"
STEPS = timedelta(hours=1)  # life of the previous key for 0 days: it opens secrets until they are sealed again


class Rotation(NamedTuple):
    """The result of a rotation.

    Attributes:
        until: the time until which the previous key is accepted; None if the environment provides the keys.
        unreadable: stored secrets that no key opens, each with what its user can do.
    """

    until: datetime | None
    unreadable: list[str]


def rotate_key(days: int) -> Rotation:
    """Create and use a new key, and accept the previous one for some days; 0 days end it immediately.

    Keys that the environment provides do not change. Raises HarkError if the data folder cannot be written, or if the
    environment provides only one key.
    """
    until = None
    if not os.environ.get(FROM_ENVIRONMENT):
        until = timezone.now() + (timedelta(days=days) or STEPS)
        rotate(Path(settings.PORTAL_DATA) / NAME, until)
    elif not settings.SECRET_KEY_FALLBACKS:
        raise HarkError(
            "The secret key was not rotated.",
            f"It is in {FROM_ENVIRONMENT}, which this command cannot change.",
            f"Set {FROM_ENVIRONMENT} to a new key and {FROM_ENVIRONMENT}_FALLBACKS to the current one, restart Hark, "
            "and run this command again: it then seals stored secrets with the new key.",
        )
    record(Action.SECRET_KEY)
    _move_sessions()
    with serialized():
        unreadable = [*_reseal_webhooks(), *dict.fromkeys(_reseal_factors())]
    # Their tasks are signed with the previous key, which workers reject.
    Job.objects.filter(state=Job.State.QUEUED).update(sent_at=None)
    send_waiting()
    if until is not None and not days:
        forget_earlier(Path(settings.PORTAL_DATA) / NAME)
        until = timezone.now()
    return Rotation(until, unreadable)


def _reseal_webhooks() -> Iterator[str]:
    """Seal the secrets of webhooks with the new key. Leave those that no key opens, and yield a line for each."""
    for hook in Webhook.objects.select_related("user"):
        try:
            sealed = reseal(hook.sealed_secret, WEBHOOK)
        except Unreadable:
            name, host = hook.user.get_username(), urlsplit(hook.url).hostname
            yield f"The webhook of {name} to {host}: {name} must delete it on the account page, and add it again."
        else:
            Webhook.objects.filter(pk=hook.pk).update(sealed_secret=sealed)


def _reseal_factors() -> Iterator[str]:
    """Seal the secrets of second factors in the same way; yield a line for each that no key opens."""
    for factor in Authenticator.objects.select_related("user"):
        try:
            sealed = {
                name: reseal(factor.data[name], SECOND_FACTOR) for name in {"secret", "seed"} & factor.data.keys()
            }
        except Unreadable:
            name = factor.user.get_username()
            yield f"The second factor of {name}: run ./hark admin factor-off --user {name}, and set it up again."
        else:
            factor.data |= sealed
            factor.save(update_fields=["data"])


def _move_sessions() -> None:
    """Sign the sessions with the new key.

    Django does so at the next request, but renames the session, which signs out the second of two parallel requests.
    """
    users = {str(user.pk): user for user in User.objects.all()}
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        content = session.get_decoded()
        user = users.get(content.get(SESSION_KEY, ""))
        if user is not None and user.has_session(content.get(HASH_SESSION_KEY, "")):
            content[HASH_SESSION_KEY] = user.get_session_auth_hash()
            moved = SessionStore().encode(content)
            Session.objects.filter(pk=session.pk, session_data=session.session_data).update(session_data=moved)
