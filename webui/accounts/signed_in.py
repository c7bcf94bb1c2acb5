"""The user of a request, for views that need a sign-in."""

from __future__ import annotations

from django.http import HttpRequest

from webui.accounts.models import User


def signed_in(request: HttpRequest) -> User:
    """Return the user of a request that ``LoginRequiredMiddleware`` or an endpoint has admitted."""
    assert isinstance(request.user, User)
    return request.user
