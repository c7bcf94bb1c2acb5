"""Parsers for request parameters: numbers, ids, JSON objects, the host, and the page of a long list."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from core.confinement.untrusted_json import untrusted_json

HERE = ("localhost", "127.0.0.1", "::1")  # names by which only this machine reaches the portal
INVALID = 422  # status of a page that shows a form again
MAX_INTEGER = 2**63 - 1  # the database's limit


def whole_number(text: str | None) -> int | None:
    """Return the number in a text of at most 18 ASCII digits; None for any other text."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > 18:
        return None
    return int(text)


def uuid_of(text: object) -> UUID:
    """Return the id in a text. Raises Http404 if it is not a UUID."""
    try:
        return UUID(str(text))
    except ValueError as error:
        raise Http404 from error


def json_object(text: str | bytes) -> dict[str, Any]:
    """Parse an untrusted JSON object. Raises ValueError if it is anything else."""
    sent = untrusted_json(text)
    if not isinstance(sent, dict):
        raise ValueError("not an object")
    return sent


def is_page(request: HttpRequest) -> bool:
    """Return whether a browser sent the request, so that the response, even an error, is a page."""
    return "text/html" in request.headers.get("Accept", "")


def safe_address(request: HttpRequest, wanted: str) -> str:
    """Return ``wanted`` if it is a URL of this portal, otherwise the start page."""
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return wanted
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def for_the_network(request: HttpRequest) -> dict[str, str]:
    """Return the ``command`` that makes the portal available to other machines, and its ``address`` there.

    Returns {} if URLs derived from this request already work on other machines.
    """
    opened = urlsplit(f"//{request.get_host()}")
    if opened.hostname not in HERE:
        return {}
    name, port = socket.gethostname().lower(), opened.port or 80
    return {
        "command": f"HARK_ALLOWED_HOSTS={name} ./hark serve --host 0.0.0.0 --port {port}",
        "address": f"http://{name}:{port}",
    }


def page_asked_for(request: HttpRequest, rows: QuerySet[Any, Any], size: int) -> Page[Any]:
    """Return the page that the URL names (``?page=``), or the nearest one. If all rows fit on it, none are counted."""
    if "page" in request.GET:
        return Paginator(rows, size).get_page(request.GET["page"])
    first = list(rows[: size + 1])
    return Page(first[:size], 1, Paginator(rows if len(first) > size else first, size))
