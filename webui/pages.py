"""Long lists, a page at a time."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest


def page_asked_for(request: HttpRequest, rows: QuerySet[Any, Any], size: int) -> Page[Any]:
    """The page that the address names (``?page=``), or the nearest there is. What fits on one page is not counted."""
    if "page" in request.GET:
        return Paginator(rows, size).get_page(request.GET["page"])
    first = list(rows[: size + 1])
    return Page(first[:size], 1, Paginator(rows if len(first) > size else first, size))
