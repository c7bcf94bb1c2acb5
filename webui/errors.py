"""Every failure as a page, or as problem details, of the same three sentences: what happened, why, what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from core.errors import HarkError

log = logging.getLogger(__name__)


def explain(request: HttpRequest, error: HarkError, status: int) -> HttpResponse:
    """The error as a page; as JSON (problem details, RFC 9457) for programs; as a fragment for HTMX."""
    if "application/json" in request.headers.get("Accept", "") or request.path.startswith("/api/"):
        content = {"title": error.what, "status": status, **error.as_dict()}
        return JsonResponse(content, status=status, content_type="application/problem+json")
    template = "fragments/problem.html" if getattr(request, "htmx", False) else "problem.html"
    response = render(request, template, {"problem": error, "status": status}, status=status)
    if getattr(request, "htmx", False):
        response["HX-Retarget"] = "#problems"
        response["HX-Reswap"] = "innerHTML"
    return response


class ExplainErrorsMiddleware:
    """Turns a :class:`HarkError` that a view raises into an answer that explains it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Called by Django for whatever a view raised."""
        if isinstance(exception, HarkError):
            return explain(request, exception, status=getattr(exception, "status", 422))
        return None


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404; also the answer to whom the thing does not belong, so that ids tell nothing."""
    error = HarkError(
        _("There is nothing here."),
        _("The address is wrong, or what was here is gone or not yours."),
        _("Go back to the start."),
    )
    return explain(request, error, 404)


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    error = HarkError(_("That is not allowed."), _("Your account may not do it."), _("Ask the owner."))
    return explain(request, error, 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    error = HarkError(_("That could not be read."), _("The request is malformed."), _("Go back and try again."))
    return explain(request, error, 400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 of a form that was opened too long ago, or sent from another site."""
    error = HarkError(
        _("The form was not accepted."),
        _("It was opened long ago, or sent from elsewhere."),
        _("Go back, reload, send again."),
    )
    return explain(request, error, 403)


def bug(request: HttpRequest) -> HttpResponse:
    """500: Django has logged the traceback."""
    error = HarkError(
        _("Something is broken in Hark."),
        _("The log of the server says more."),
        _("Try again; if it stays, report it."),
    )
    return explain(request, error, 500)
