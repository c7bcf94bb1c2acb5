"""Numbers, ids, JSON objects, the host and the page of a long list as requests have them."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from core.untrusted_json import untrusted_json

HERE = ("localhost", "127.0.0.1", "::1")  # names under which only this machine reaches the portal
LARGEST = 2**63 - 1  # that the database takes


def whole_number(text: str | None) -> int | None:
    """The number that a text of at most 18 ASCII digits says; None for any other text."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > 18:
        return None
    return int(text)


def uuid_of(text: object) -> UUID:
    """The id that is sent for a thing. Raises Http404 for what is none."""
    try:
        return UUID(str(text))
    except ValueError as error:
        raise Http404 from error


def json_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object that comes from outside. Raises ValueError for anything else."""
    sent = untrusted_json(text)
    if not isinstance(sent, dict):
        raise ValueError("not an object")
    return sent


def for_the_network(request: HttpRequest) -> dict[str, str]:
    """The ``command`` that starts the portal for other machines, and the ``address`` that it has there; empty where
    addresses that are made of this request can be opened elsewhere."""
    opened = urlsplit(f"//{request.get_host()}")
    if opened.hostname not in HERE:
        return {}
    name, port = socket.gethostname().lower(), opened.port or 80
    return {
        "command": f"HARK_ALLOWED_HOSTS={name} ./hark serve --host 0.0.0.0 --port {port}",
        "address": f"http://{name}:{port}",
    }


def page_asked_for(request: HttpRequest, rows: QuerySet[Any, Any], size: int) -> Page[Any]:
    """The page that the address names (``?page=``), or the nearest there is. What fits on one page is not counted."""
    if "page" in request.GET:
        return Paginator(rows, size).get_page(request.GET["page"])
    first = list(rows[: size + 1])
    return Page(first[:size], 1, Paginator(rows if len(first) > size else first, size))
