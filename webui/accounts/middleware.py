"""Middleware that requires a sign-in for all views, except those marked with Django's ``login_not_required``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME, SESSION_KEY
from django.contrib.auth import middleware as django_middleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from core.errors import HarkError
from webui.accounts.sessions import note_use
from webui.http.errors import explain
from webui.http.middleware import Middleware


class LoginRequiredMiddleware(django_middleware.LoginRequiredMiddleware):
    """Django's middleware, adapted to requests that cannot use a redirect to the sign-in page.

    The API authenticates its own calls. For a fragment, HTMX loads the sign-in page; a request for JSON gets a 401.
    """

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: tuple[Any, ...], view_kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Check a request before its view; None means that it may continue."""
        if request.path_info.startswith("/api/"):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)

    def handle_no_permission(  # type: ignore[override]
        self, request: HttpRequest, view_func: Any
    ) -> HttpResponseBase:
        """Redirect to the sign-in page. It leads back to the page (not the fragment) that sent the request."""
        htmx = getattr(request, "htmx", None)
        if htmx:
            return HttpResponseClientRedirect(sign_in_address(htmx.current_url_abs_path or ""))
        if "application/json" in request.headers.get("Accept", ""):
            error = HarkError(
                _("You are not signed in."), _("You have no session, or it has expired."), _("Sign in, then try again.")
            )
            return explain(request, error, 401)
        if request.method not in ("GET", "HEAD"):  # the form is lost, and its URL may not be a page
            return HttpResponse(status=303, headers={"Location": sign_in_address("")})
        return super().handle_no_permission(request, view_func)


class SessionLimitsMiddleware(Middleware):
    """Extends a session while it is used."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if SESSION_KEY in request.session:
            note_use(request.session)
        return super().__call__(request)


class PrivateAnswersMiddleware(Middleware):
    """Keeps responses to signed-in users out of all caches of browsers and proxies.

    Responses that set Cache-Control are not changed.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = super().__call__(request)
        if "Cache-Control" not in response and request.user.is_authenticated:
            response["Cache-Control"] = "private, no-store"
        return response


def sign_in_address(then: str) -> str:
    """Return the URL of the sign-in page that leads on to ``then``."""
    query = QueryDict(mutable=True)
    if then:
        query[REDIRECT_FIELD_NAME] = then
    return resolve_url(settings.LOGIN_URL) + (f"?{query.urlencode(safe='/')}" if query else "")
