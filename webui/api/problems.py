"""Errors of the API as problem details (RFC 9457): what happened, why, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from http.client import responses
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from core.errors import HarkError
from webui.http.errors import PROBLEM, broken, forbidden, known, problem, unreadable
from webui.http.middleware import view_of

log = logging.getLogger(__name__)

NAMED = 5  # invalid fields named in the sentence; the list has all


def install(api: NinjaAPI) -> None:
    """Register handlers for all exceptions of operations."""
    answers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        ValidationError: lambda request, error: _invalid(error),
        HttpError: lambda request, error: problem(unreadable(), error.status_code),
        Http404: lambda request, error: problem(*in_words(request, error)),
        Exception: lambda request, error: problem(*in_words(request, error)),
    }
    for kind, answer in answers.items():
        api.add_exception_handler(kind, answer)


def in_words(request: HttpRequest, error: Exception) -> tuple[HarkError, int]:
    """Return an exception of a view for programs as an error with its status. Bugs are logged."""
    if isinstance(error, Http404):
        return not_found(), 404
    if isinstance(error, PermissionDenied):
        return forbidden(), 403
    error_and_status = known(error)
    if error_and_status is None:
        log.error("%s %s failed", request.method, view_of(request), exc_info=error)
        return broken(), 500
    return error_and_status


def not_found() -> HarkError:
    """Return the error 404, including for other users' objects, so that ids reveal nothing."""
    return HarkError(
        _("Not found."),
        _("The id is wrong, or the item was deleted or belongs to another user."),
        _("List your items and use an id from there."),
    )


def _invalid(error: ValidationError) -> HttpResponse:
    # The input is not repeated, because it may hold a password.
    wrong = [
        {"where": ".".join(str(part) for part in entry["loc"]), "message": str(entry["msg"])} for entry in error.errors
    ]
    mistakes = "; ".join(f"{entry['where']}: {entry['message']}" for entry in wrong[:NAMED])
    explained = HarkError(
        _("The request does not match this URL."), f"{mistakes}.", _("Correct that; /api/docs shows examples.")
    )
    return problem(explained, 422, errors=wrong)


def explained(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Wrap a view so that errors without a text (405) are explained too."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        status = response.status_code
        if status < 400 or response.headers.get("Content-Type") == PROBLEM:
            return response
        allowed = response.headers.get("Allow", "")
        if status == 405:
            why = _("This URL accepts %(allowed)s, not %(method)s.") % {
                "method": request.method,
                "allowed": allowed,
            }
        else:
            why = responses.get(status, str(status))
        explanation = problem(HarkError(_("This request is not supported."), why, _("See /api/docs.")), status)
        if allowed:
            explanation["Allow"] = allowed
        return explanation

    return answer
