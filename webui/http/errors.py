"""Failures as pages or problem details, each in three sentences: what happened, why, what to do."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

from django.core.exceptions import DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from core.data_folder import StorageFull, is_full
from core.errors import HarkError
from pipeline.speech_service.client import ServiceBusy
from webui.http.middleware import Middleware
from webui.transactions import is_locked
from webui.translation import explained

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
BUSY_WAIT_S = 30  # seconds until the next attempt, for an error without its own time
MAX_LINE_LENGTH = 500  # characters in the log for a malformed request
MAX_NAME_LENGTH = 80  # characters of a host name that a page repeats


class StatusError(HarkError):
    """A failure with its own HTTP status, and the seconds after which to try again."""

    def __init__(self, status: int, what: str, why: str, what_to_do: str, wait_s: int | None = None) -> None:
        super().__init__(what, why, what_to_do)
        self.status, self.wait_s = status, wait_s


def status_of(error: HarkError, usual: int = 422) -> int:
    """Return the status of the response to an error: that of its class or, without one, ``usual``."""
    if isinstance(error, ServiceBusy):
        return 503
    return 507 if isinstance(error, StorageFull) else int(getattr(error, "status", usual))


def explain(request: HttpRequest, error: HarkError, status: int) -> HttpResponse:
    """Return the error as a page; for programs as JSON (problem details, RFC 9457); for HTMX as a fragment."""
    if "application/json" in request.headers.get("Accept", "") or request.path.startswith("/api/"):
        return problem(error, status)
    template = "fragments/problem.html" if getattr(request, "htmx", False) else "problem.html"
    response = render(request, template, {"problem": error, "back": _form_of(request)}, status=status)
    if getattr(request, "htmx", False):
        response["HX-Retarget"] = "#problems"
        response["HX-Reswap"] = "innerHTML"
    return with_headers(error, response)


def problem(error: HarkError, /, status: int | None = None, **more: Any) -> HttpResponse:
    """Return the error as problem details (RFC 9457); ``more`` are further members."""
    status = status or status_of(error)
    sentences = explained(error)
    content = {"type": "about:blank", "title": sentences["what"], "status": status, **sentences, **more}
    return with_headers(error, JsonResponse(content, status=status, content_type=PROBLEM))


def with_headers(error: HarkError | None, response: HttpResponse) -> HttpResponse:
    """Set Retry-After to the error's ``wait_s``, rounded up (a default for 429 and 503); WWW-Authenticate for 401."""
    wait_s = getattr(error, "wait_s", None) or (BUSY_WAIT_S if response.status_code in (429, 503) else None)
    if wait_s:
        response["Retry-After"] = str(math.ceil(wait_s))  # another server may ask for a fraction
    if response.status_code == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Hark"'
    return response


def _form_of(request: HttpRequest) -> str:
    """Return the page of this portal that sent a form; "" if unknown."""
    referer = request.headers.get("Referer", "")
    try:
        here = request.get_host()
    except DisallowedHost:
        return ""
    if request.method != "POST" or not url_has_allowed_host_and_scheme(referer, {here}):
        return ""
    return referer


def known(error: BaseException | None) -> tuple[HarkError, int] | None:
    """Return an exception as a HarkError with its status; None for bugs and for errors that Django explains."""
    if isinstance(error, HarkError):
        return error, status_of(error)
    if isinstance(error, RequestDataTooBig):
        return too_large(), 413
    if isinstance(error, SuspiciousOperation | MultiPartParserError):
        return unreadable(), 400
    if is_full(error):
        full = HarkError(
            _("The disk of this server is full."),
            _("Your request could not be stored."),
            _("Ask the owner to free some space, then try again."),
        )
        return full, 507
    if is_locked(error):
        busy = StatusError(
            503,
            _("Hark is busy."),
            _("Its database was locked by another process for half a minute."),
            _("Send the request again in a moment."),
        )
        return busy, 503
    return None


def too_large() -> StatusError:
    return StatusError(
        413,
        _("The request is too large."),
        _("Its body is longer than this URL accepts."),
        _("Send less; /api/docs gives the limit."),
    )


def unreadable() -> HarkError:
    return HarkError(
        _("The request could not be read."),
        _("Its body is malformed or was cut off."),
        _("Send well-formed JSON, or a form where /api/docs asks for one."),
    )


def forbidden() -> HarkError:
    return HarkError(_("That is not allowed."), _("Your account is not permitted to do this."), _("Ask the owner."))


def broken() -> HarkError:
    return HarkError(
        _("Hark has failed because of a bug."),
        _("The server's log has the details."),
        _("Try again; if it happens again, report it."),
    )


class OneLineLogFilter(logging.Filter):
    """Logs malformed requests, full disks and locked databases in one line without traceback; 503 is only a warning."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if is_full(error) or is_locked(error) or isinstance(error, SuspiciousOperation):
            record.exc_info, record.exc_text = None, None
            message, why = record.getMessage(), str(error)
            record.msg, record.args = (message if why in message else f"{message}: {why}")[:MAX_LINE_LENGTH], ()
        if getattr(record, "status_code", None) == 503:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class ExplainErrorsMiddleware(Middleware):
    """Explains the exceptions of views that :func:`known` covers."""

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        """Set the status 422 if a form of an allauth page has errors."""
        content = response.context_data or {}
        if any(getattr(content.get(name), "errors", None) for name in ("form", "webauthn_form")):
            response.status_code = 422
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        error_and_status = known(exception)
        return None if error_and_status is None else explain(request, *error_and_status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 404, including for other users' objects, so that ids reveal nothing."""
    error = HarkError(
        _("Not found."),
        _("The address is wrong, or the item was deleted or belongs to another user."),
        _("Go to the start page."),
    )
    return explain(request, error, 404)


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    return explain(request, forbidden(), 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    error = HarkError(_("The request could not be read."), _("The request is malformed."), _("Go back and try again."))
    if isinstance(exception, DisallowedHost):
        host = request.META.get("HTTP_HOST", "")[:MAX_NAME_LENGTH]
        error = HarkError(
            _("This host name is not configured."),
            _("The portal was opened as “%(host)s”, which is not one of its host names.") % {"host": host},
            _("Open it under one of its host names, or add this one and restart it."),
        )
    return explain(request, error, 400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return 403 for a form that was opened too long ago or sent from another site."""
    error = HarkError(
        _("The form was not accepted."),
        _("It was opened long ago, or sent from another site."),
        _("Go back, reload the page and send it again."),
    )
    return explain(request, error, 403)


def bug(request: HttpRequest) -> HttpResponse:
    """Return 500 for a bug, whose traceback Django has logged, or explain an error raised outside of views.

    An example is a full disk while a session is saved.
    """
    return explain(request, *(known(sys.exception()) or (broken(), 500)))
