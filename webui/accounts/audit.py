"""The audit log: who did what, when and from where. It contains no secrets and no content of recordings."""

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
from webui.http.middleware import Middleware

Action = AuditEntry.Action

_asked: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)


@contextmanager
def asked_by(request: HttpRequest) -> Iterator[None]:
    """Attribute everything recorded in this context to the request."""
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
    """Record an action, and delete entries older than ``settings.AUDIT_DAYS``.

    Args:
      what: the object of the action, such as a token's name or a recording's number, but never a secret.
      about: the user whose account it concerns; by default, ``by``.
      by: the user who did it; by default the sender of the request. Without a request, it is a command on the machine.
      organization: the number of the organization that it concerns, whose owners see the entry too.
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
    """Return what a user did and what was done to their account, newest first."""
    return AuditEntry.objects.filter(Q(by_id=user.pk) | Q(about_id=user.pk))


def entries_of_organization(number: int) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(organization_id=number)
