"""The audit log: who did what, when and from where. It holds no secrets, and nothing of what a recording says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from webui.accounts.addresses import client_address
from webui.accounts.models import AuditEntry, User
from webui.logs import Middleware

Action = AuditEntry.Action

_asked: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)


@contextmanager
def asked_by(request: HttpRequest) -> Iterator[None]:
    """What is recorded meanwhile was asked for by this request."""
    before = _asked.set(request)
    try:
        yield
    finally:
        _asked.reset(before)


class AuditMiddleware(Middleware):
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with asked_by(request):
            return super().__call__(request)


def record(
    action: AuditEntry.Action,
    *,
    what: str = "",
    about: User | None = None,
    by: User | None = None,
    organization: int | None = None,
) -> None:
    """Write down what was done, and forget what is older than ``settings.AUDIT_DAYS``.

    Args:
        what: it was done to: the name of a token, the number of a recording. Never a secret.
        about: whose account it concerns; that of who did it unless given.
        by: who did it; whoever sent the request unless given. Without a request it was a command on the machine.
        organization: the number of that which it concerns; its owners see it, too.
    """
    request = _asked.get()
    if by is None and request is not None and isinstance(request.user, User):
        by = request.user
    about = about or by
    now = timezone.now()
    AuditEntry.objects.forget_before(now - timedelta(days=settings.AUDIT_DAYS))
    AuditEntry.objects.create(
        at=now,
        action=action,
        what=what[:200],
        by_id=by.pk if by else None,
        by_name=by.username if by else "",
        about_id=about.pk if about else None,
        about_name=about.username if about else "",
        address=client_address(request)[:64] if request is not None else AuditEntry.MACHINE,
        organization_id=organization,
    )


def entries_of(user: User) -> QuerySet[AuditEntry]:
    """What a user did, and what was done to their account; newest first."""
    return AuditEntry.objects.filter(Q(by_id=user.pk) | Q(about_id=user.pk))


def entries_of_organization(number: int) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(organization_id=number)
