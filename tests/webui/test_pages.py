"""Long lists, a page at a time."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from webui.accounts.models import User
from webui.jobs.models import Job
from webui.parameters import page_asked_for

pytestmark = pytest.mark.django_db
SIZE = 3


@pytest.mark.parametrize(
    ("rows", "asked", "expected", "pages", "statements"),
    [
        (0, "", [], 1, 1),
        (3, "", [0, 1, 2], 1, 1),
        (4, "", [0, 1, 2], 2, 2),
        (4, "?page=1", [0, 1, 2], 2, 2),
        (4, "?page=2", [3], 2, 2),
        (4, "?page=9", [3], 2, 2),
        (4, "?page=x", [0, 1, 2], 2, 2),
        (0, "?page=2", [], 1, 1),
    ],
)
def test_a_page(
    rf: RequestFactory,
    owner: User,
    django_assert_num_queries: Any,
    rows: int,
    asked: str,
    expected: list[int],
    pages: int,
    statements: int,
) -> None:
    for number in range(rows):
        Job.objects.create(user=owner, kind="train", lane="training", title=str(number))
    with django_assert_num_queries(statements):
        page = page_asked_for(rf.get(f"/{asked}"), Job.objects.order_by("created_at"), SIZE)
        assert [int(job.title) for job in page] == expected
        assert page.paginator.num_pages == pages
    assert page.has_next() == (pages > page.number)
