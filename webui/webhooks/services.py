"""Webhooks: messages about ended jobs, their signatures, and their repeated delivery.

A message and its first task are stored in the transaction in which its job ends. Each attempt first schedules the next
one, which is cancelled if it is not needed. So a killed worker loses none, but one may arrive twice, with the same id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.jobs import WEBHOOKS
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.jobs.queue import enqueue
from webui.jobs.services import TooManyJobs
from webui.keys.sealing import seal, unseal
from webui.transactions import serialized
from webui.translation import explained
from webui.webhooks.models import Delivery, Webhook
from webui.webhooks.outgoing import MAX_DURATION_S, NotSent, check_url, post

log = logging.getLogger(__name__)

EVENTS = ("job.done", "job.failed", "job.cancelled", "job.interrupted")
PING = "ping"
MAX_WEBHOOKS = 10  # webhooks per user
STORED_DELIVERIES = 50  # stored deliveries per webhook
MAX_WAITING = 50  # waiting deliveries per user
MAX_PINGS = 5  # waiting test messages per user
AT_ONCE = 2  # simultaneous deliveries per user, so that one slow receiver does not delay those of other users
REQUEUE_AFTER = timedelta(seconds=5)
AGAIN_AFTER = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600, 3600, 6 * 3600))  # then failed
SECRET_START = "whsec_"
PURPOSE = "webhook"
TASK = "webui.webhooks.services.deliver"


def add(*, user: User, url: str, events: Collection[str]) -> tuple[Webhook, str]:
    """Add a webhook; return it and its secret, shown only once.

    Raises HarkError if its URL or events are invalid, or the user has too many webhooks.
    """
    check_url(url)
    wanted = [event for event in EVENTS if event in events]
    if not wanted or len(wanted) != len(set(events)):
        raise HarkError(
            _("The webhook was not created."),
            _("Its events must be among %(events)s.") % {"events": ", ".join(EVENTS)},
            _("Choose at least one of these."),
        )
    if Webhook.objects.filter(user=user).count() >= MAX_WEBHOOKS:
        raise HarkError(
            _("The webhook was not created."),
            _("There are already %(most)d, which is the limit.") % {"most": MAX_WEBHOOKS},
            _("Delete one first."),
        )
    secret = SECRET_START + secrets.token_urlsafe(32)
    hook = Webhook.objects.create(user=user, url=url, events=wanted, sealed_secret=seal(secret, PURPOSE))
    record(Action.WEBHOOK_ADDED, what=_host(url), about=user)
    return hook, secret


def _host(url: str) -> str:
    """Return the part of a URL that the audit log may hold. The rest may hold a secret."""
    return urlsplit(url).hostname or ""


def notify(sender: object, *, job: Job, **kwargs: Any) -> None:
    """Notify webhooks of the end of a job. Called in the job's transaction, which must not fail because of webhooks."""
    event = f"job.{job.state}"
    try:
        with serialized():
            for hook in Webhook.objects.filter(user_id=job.user_id):
                if event in hook.events:
                    send(webhook=hook, event=event, content={"job": summary(job)})
    except Exception:
        log.exception("the webhooks were not notified of the end of job %s", job.id)


def summary(job: Job) -> dict[str, Any]:
    """Return a message's content about a job."""
    version = getattr(job, "version", None)
    ended = job.finished_at or timezone.now()
    return {
        "id": str(job.id),
        "kind": job.kind,
        "title": job.title,
        "state": job.state,
        "finished_at": ended.isoformat(),
        "error": explained(job.error) if job.error else None,
        "detector": None if version is None else {"id": version.detector_id, "version": version.number},
    }


def ping(*, webhook: Webhook) -> Delivery:
    """Send an empty message as a test. Raises TooManyJobs if too many are already waiting."""
    if _waiting(webhook).filter(event=PING).count() >= MAX_PINGS:
        raise TooManyJobs(
            _("The webhook was not tested."),
            _("%(most)d test messages are still waiting to be delivered.") % {"most": MAX_PINGS},
            _("Wait until they are delivered or have failed, then test it again."),
        )
    return send(webhook=webhook, event=PING, content={})


def _waiting(webhook: Webhook) -> QuerySet[Delivery]:
    """Return the unsent messages to this user's webhooks."""
    return Delivery.objects.filter(webhook__user_id=webhook.user_id, state=Delivery.State.WAITING)


def send(*, webhook: Webhook, event: str, content: dict[str, Any]) -> Delivery:
    """Store and queue a message; return its delivery.

    Each webhook stores only its newest messages. If a user has too many waiting, the oldest ones fail.
    """
    identifier = uuid4()
    body = {"id": str(identifier), "event": event, "created_at": timezone.now().isoformat(), **content}
    with serialized():
        delivery = Delivery.objects.create(id=identifier, webhook=webhook, event=event, body=json.dumps(body))
        for late in _waiting(webhook)[MAX_WAITING:]:
            _end(late, Delivery.State.FAILED, late.answer_status, _("Too many newer messages are waiting."))
        for old in Delivery.objects.filter(webhook=webhook).values_list("pk", flat=True)[STORED_DELIVERIES:]:
            _book(old, None)
            Delivery.objects.filter(pk=old).delete()
        _book(identifier, timezone.now() + AGAIN_AFTER[0])  # in case the worker is killed before it has begun
        enqueue(TASK, identifier, WEBHOOKS)
    return delivery


def signature(secret: str, at: int, body: str) -> str:
    """Return the header Hark-Signature: the time, and the HMAC-SHA256 of ``<time>.<body>``."""
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.{body}'.encode(), hashlib.sha256).hexdigest()}"


def deliver(delivery_id: str) -> None:
    """Attempt a delivery once; called by django-q2."""
    delivery = Delivery.objects.select_related("webhook__user").filter(pk=delivery_id).first()
    if delivery is None or delivery.state != Delivery.State.WAITING:
        return
    after = AGAIN_AFTER[delivery.tries] if delivery.tries < len(AGAIN_AFTER) else None
    now = timezone.now()
    next_try = None if after is None else now + after
    with serialized():
        mine = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING, tries=delivery.tries)
        if _waiting(delivery.webhook).filter(sending_until__gt=now).count() >= AT_ONCE:
            if mine.update(next_try_at=now + REQUEUE_AFTER):
                _book(delivery.pk, now + REQUEUE_AFTER)
            return
        sending_until = now + timedelta(seconds=MAX_DURATION_S)
        if not mine.update(tries=delivery.tries + 1, tried_at=now, next_try_at=next_try, sending_until=sending_until):
            return  # another worker is delivering it
        _book(delivery.pk, next_try)
    delivery.tries += 1
    status, problem, hopeless = _try(delivery)
    if not problem:
        _end(delivery, Delivery.State.DELIVERED, status, "")
    elif hopeless or next_try is None:
        _end(delivery, Delivery.State.FAILED, status, problem)
    else:
        Delivery.objects.filter(pk=delivery.pk).update(answer_status=status, problem=problem[:400], sending_until=None)


def _try(delivery: Delivery) -> tuple[int | None, str, bool]:
    """Return the status of the response, the problem, and whether the delivery must not be retried."""
    hook = delivery.webhook
    if not hook.user.is_active:
        return None, _("Its user is deactivated."), True
    try:
        secret = unseal(hook.sealed_secret, PURPOSE)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Hark-Webhook/1",
            "Hark-Event": delivery.event,
            "Hark-Delivery": str(delivery.pk),
            "Hark-Signature": signature(secret, int(time.time()), delivery.body),
        }
        status = post(hook.url, delivery.body.encode(), headers)
    except NotSent as error:
        return None, str(error), False
    except HarkError as error:
        return None, f"{error.what} {error.why}", True
    if not 200 <= status < 300:
        return status, _("The server answered with status %(status)d.") % {"status": status}, False
    return status, "", False


def _book(delivery_id: UUID, at: datetime | None) -> None:
    """Schedule the next attempt in place of an earlier schedule; if ``at`` is None, only remove the earlier one."""
    from django_q.models import Schedule

    Schedule.objects.filter(name=f"webhook {delivery_id}").delete()
    if at is not None:
        Schedule.objects.create(
            name=f"webhook {delivery_id}",
            func=TASK,
            args=repr((str(delivery_id),)),
            schedule_type=Schedule.ONCE,
            next_run=at,
            cluster=WEBHOOKS,
        )


def _end(delivery: Delivery, state: str, status: int | None, problem: str) -> None:
    with serialized():
        Delivery.objects.filter(pk=delivery.pk).update(
            state=state, answer_status=status, problem=problem[:400], next_try_at=None, sending_until=None
        )
        _book(delivery.pk, None)


def stuck() -> bool:
    """Return whether a message is overdue although no delivery was attempted: the cluster runs but does nothing."""
    patience = timezone.now() - timedelta(seconds=4 * settings.JOBS_LEASE_S)
    due = Q(next_try_at__lt=patience) | Q(tries=0, next_try_at=None, created_at__lt=patience)
    waiting = Delivery.objects.filter(due, state=Delivery.State.WAITING)
    return waiting.exists() and not Delivery.objects.filter(tried_at__gte=patience).exists()


def remove(*, webhook: Webhook) -> None:
    """Remove a webhook, its log, and its unsent messages."""
    with serialized():
        for pk in Delivery.objects.filter(webhook=webhook, state=Delivery.State.WAITING).values_list("pk", flat=True):
            _book(pk, None)
        record(Action.WEBHOOK_REMOVED, what=_host(webhook.url), about=webhook.user)
        webhook.delete()
