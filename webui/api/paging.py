"""Long lists in pages: ``?limit=`` and ``?offset=``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from ninja import Field, Schema

MOST, USUAL = 100, 25
FARTHEST = 1_000_000

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class Paging(Schema):
    """Which part of a list."""

    limit: int = Field(USUAL, ge=1, le=MOST, description="How many at most.", examples=[USUAL])
    offset: int = Field(0, ge=0, le=FARTHEST, description="How many are left out before the first.", examples=[0])


class Page(Schema, Generic[Item]):
    """A part of a list; ``next`` is the address of the part after it, or null."""

    items: list[Item]
    total: int = Field(examples=[1])
    limit: int = Field(examples=[USUAL])
    offset: int = Field(examples=[0])
    next: str | None = Field(None, examples=[None])


def page(request: HttpRequest, rows: QuerySet[Row], paging: Paging, out: Callable[[Row], Item]) -> Page[Item]:
    """The part of ``rows`` that was asked for."""
    total = rows.count()
    items = [out(row) for row in rows[paging.offset : paging.offset + paging.limit]]
    following = None
    if paging.offset + paging.limit < total:
        query = request.GET.copy()
        query["offset"], query["limit"] = str(paging.offset + paging.limit), str(paging.limit)
        following = f"{request.path}?{query.urlencode()}"
    return Page[Item](items=items, total=total, limit=paging.limit, offset=paging.offset, next=following)
