"""Webhooks: who is told how a job ended, in what words, signed how, and how often it is tried.

A message is written down in the transaction in which its job ends, with its first task; before each try the next one is
booked, and taken back when it is not needed. So nothing is lost where a worker is killed, and a message may come twice:
its id says so.
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
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.api.models import Delivery, Webhook
from webui.api.outgoing import LONGEST_S, NotSent, check_url, post
from webui.jobs.models import Job
from webui.jobs.queue import enqueue
from webui.jobs.services import WEBHOOKS, LimitReached
from webui.sealing import seal, unseal
from webui.transactions import alone
from webui.translation import explained

log = logging.getLogger(__name__)

EVENTS = ("job.done", "job.failed", "job.cancelled", "job.interrupted")
PING = "ping"
MOST = 10  # of a user
KEPT = 50  # deliveries of a webhook
MOST_WAITING = 50  # deliveries of a user
MOST_PINGS = 5  # of a user that wait
AT_ONCE = 2  # deliveries of a user: whose server is slow does not hold up the others' (settings.WEBHOOKS_SENT_AT_ONCE)
PLACE_AGAIN_AFTER = timedelta(seconds=5)
AGAIN_AFTER = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600, 3600, 6 * 3600))  # then it has failed
SECRET_START = "whsec_"
PURPOSE = "webhook"
TASK = "webui.api.webhooks.deliver"


def add(*, user: User, url: str, events: Collection[str]) -> tuple[Webhook, str]:
    """A new webhook and its secret, which is shown now and never again. Raises HarkError: the address or the events
    cannot be used, or there are too many."""
    check_url(url)
    wanted = [event for event in EVENTS if event in events]
    if not wanted or len(wanted) != len(set(events)):
        raise HarkError(
            _("The webhook was not made."),
            _("Its events must be some of %(events)s.") % {"events": ", ".join(EVENTS)},
            _("Change that and try again."),
        )
    if Webhook.objects.filter(user=user).count() >= MOST:
        raise HarkError(
            _("The webhook was not made."),
            _("There are %(most)d already, which is the limit.") % {"most": MOST},
            _("Delete one first."),
        )
    secret = SECRET_START + secrets.token_urlsafe(32)
    hook = Webhook.objects.create(user=user, url=url, events=wanted, sealed_secret=seal(secret, PURPOSE))
    record(Action.WEBHOOK_ADDED, what=_host(url), about=user)
    return hook, secret


def _host(url: str) -> str:
    """What the audit log says of an address, whose rest may hold a secret."""
    return urlsplit(url).hostname or ""


def tell(sender: object, *, job: Job, **kwargs: Any) -> None:
    """A job has ended; called within its transaction, which must not fail for this."""
    event = f"job.{job.state}"
    try:
        with alone():
            for hook in Webhook.objects.filter(user_id=job.user_id):
                if event in hook.events:
                    send(webhook=hook, event=event, content={"job": summary(job)})
    except Exception:
        log.exception("the webhooks of job %s were not told", job.id)


def summary(job: Job) -> dict[str, Any]:
    """What a message says about a job."""
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
    """Send a message that says nothing, to see whether it arrives. Raises LimitReached: so many wait that one more
    tells nothing new."""
    if _waiting(webhook).filter(event=PING).count() >= MOST_PINGS:
        raise LimitReached(
            _("The webhook was not tried."),
            _("%(most)d messages of that kind wait for an answer.") % {"most": MOST_PINGS},
            _("Look at what became of them, and try again later."),
        )
    return send(webhook=webhook, event=PING, content={})


def _waiting(webhook: Webhook) -> QuerySet[Delivery]:
    """What is to be sent to this user's webhooks."""
    return Delivery.objects.filter(webhook__user_id=webhook.user_id, state=Delivery.State.WAITING)


def send(*, webhook: Webhook, event: str, content: dict[str, Any]) -> Delivery:
    """Write a message down and have it sent; only the newest messages of a webhook are kept.

    Where too many of a user's wait, the oldest of them is given up.
    """
    identifier = uuid4()
    body = {"id": str(identifier), "event": event, "created_at": timezone.now().isoformat(), **content}
    with alone():
        delivery = Delivery.objects.create(id=identifier, webhook=webhook, event=event, body=json.dumps(body))
        for late in _waiting(webhook)[MOST_WAITING:]:
            _end(late, Delivery.State.FAILED, late.answer_status, _("Too many newer messages wait."))
        for old in Delivery.objects.filter(webhook=webhook).values_list("pk", flat=True)[KEPT:]:
            _book(old, None)
            Delivery.objects.filter(pk=old).delete()
        _book(identifier, timezone.now() + AGAIN_AFTER[0])  # should the worker be killed before it has begun
        enqueue(TASK, identifier, WEBHOOKS)
    return delivery


def signature(secret: str, at: int, body: str) -> str:
    """The header Hark-Signature: when, and the HMAC-SHA256 of ``<when>.<body>``."""
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.{body}'.encode(), hashlib.sha256).hexdigest()}"


def deliver(delivery_id: str) -> None:
    """One try; called by django-q2."""
    delivery = Delivery.objects.select_related("webhook__user").filter(pk=delivery_id).first()
    if delivery is None or delivery.state != Delivery.State.WAITING:
        return
    after = AGAIN_AFTER[delivery.tries] if delivery.tries < len(AGAIN_AFTER) else None
    now = timezone.now()
    next_try = None if after is None else now + after
    with alone():
        mine = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING, tries=delivery.tries)
        if _waiting(delivery.webhook).filter(sending_until__gt=now).count() >= AT_ONCE:
            if mine.update(next_try_at=now + PLACE_AGAIN_AFTER):
                _book(delivery.pk, now + PLACE_AGAIN_AFTER)
            return
        sending_until = now + timedelta(seconds=LONGEST_S)
        if not mine.update(tries=delivery.tries + 1, tried_at=now, next_try_at=next_try, sending_until=sending_until):
            return  # another worker has it
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
    """Status of the answer, what went wrong, and whether it will the next time too."""
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
        return status, _("It answered with %(status)d.") % {"status": status}, False
    return status, "", False


def _book(delivery_id: UUID, at: datetime | None) -> None:
    """Have it tried at that time (None: not again)."""
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
    with alone():
        Delivery.objects.filter(pk=delivery.pk).update(
            state=state, answer_status=status, problem=problem[:400], next_try_at=None, sending_until=None
        )
        _book(delivery.pk, None)


def stuck() -> bool:
    """Whether a message is due for long and none was tried since: the cluster lives, and does nothing."""
    patience = timezone.now() - timedelta(seconds=4 * settings.JOBS_LEASE_S)
    due = Q(next_try_at__lt=patience) | Q(tries=0, next_try_at=None, created_at__lt=patience)
    waiting = Delivery.objects.filter(due, state=Delivery.State.WAITING)
    return waiting.exists() and not Delivery.objects.filter(tried_at__gte=patience).exists()


def remove(*, webhook: Webhook) -> None:
    """Forget a webhook, its log, and what was not sent yet."""
    with alone():
        for pk in Delivery.objects.filter(webhook=webhook, state=Delivery.State.WAITING).values_list("pk", flat=True):
            _book(pk, None)
        record(Action.WEBHOOK_REMOVED, what=_host(webhook.url), about=webhook.user)
        webhook.delete()
