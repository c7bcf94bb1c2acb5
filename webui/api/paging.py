"""Pages of long lists: ``?limit=`` and ``?offset=``."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Schema

MAX_LIMIT, USUAL = 100, 25
FARTHEST = 1_000_000

Item = TypeVar("Item")


class Paging(Schema):
    """The requested part of a list."""

    limit: int = Field(USUAL, ge=1, le=MAX_LIMIT, description="The maximum number of items.", examples=[USUAL])
    offset: int = Field(0, ge=0, le=FARTHEST, description="The number of items to skip.", examples=[0])


class Page(Schema, Generic[Item]):
    """A part of a list; ``next`` is the URL of the following part, or null."""

    items: list[Item]
    total: int = Field(examples=[1])
    limit: int = Field(examples=[USUAL])
    offset: int = Field(examples=[0])
    next: str | None = Field(None, examples=[None])


def page(request: HttpRequest, rows: QuerySet[Any], paging: Paging) -> dict[str, Any]:
    """Return the requested part of ``rows`` as fields of :class:`Page`; ninja turns its rows into schemas."""
    total = rows.count()
    following = None
    if paging.offset + paging.limit < total:
        query = request.GET.copy()
        query["offset"], query["limit"] = str(paging.offset + paging.limit), str(paging.limit)
        following = f"{request.path}?{query.urlencode()}"
    items = list(rows[paging.offset : paging.offset + paging.limit])
    return {"items": items, "total": total, "limit": paging.limit, "offset": paging.offset, "next": following}
