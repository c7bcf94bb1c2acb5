"""Pages of the audit log: a user's own entries, and for the owner those of all users."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from webui.account_pages.user_views import owner_only
from webui.accounts.audit import entries_of
from webui.accounts.models import AuditEntry, User
from webui.accounts.signed_in import signed_in
from webui.http.parameters import page_asked_for, whole_number

PAGE = 50


@require_safe
def own(request: HttpRequest) -> HttpResponse:
    return _page(request, entries_of(signed_in(request)), None)


@owner_only
@require_safe
def everybody(request: HttpRequest) -> HttpResponse:
    """Show the entries of all users or, with ``?user=ID``, those that concern one of them."""
    chosen = whole_number(request.GET.get("user"))
    shown = get_object_or_404(User, pk=chosen) if chosen else None
    return _page(request, entries_of(shown) if shown else AuditEntry.objects.all(), shown, all_users=True)


def _page(
    request: HttpRequest, entries: QuerySet[AuditEntry], shown: User | None, all_users: bool = False
) -> HttpResponse:
    page = page_asked_for(request, entries, PAGE)
    content = {"page": page, "shown": shown, "all_users": all_users, "days": settings.AUDIT_DAYS}
    return render(request, "accounts/log.html", content)
