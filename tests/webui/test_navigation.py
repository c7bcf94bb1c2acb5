"""The frame of every page: counts, the chosen theme, and long lists a page at a time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from tests.support.every_page import every_page
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.http.parameters import page_asked_for
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.organizations.models import Membership, Organization, Role
from webui.trainer.models import Detector

pytestmark = pytest.mark.django_db


def test_the_bell_counts_only_the_users_own_jobs_and_samples(owners: Client, owner: User, other: User) -> None:
    assert 'class="count"' not in owners.get("/").text
    for user, state in ((owner, "queued"), (owner, "done"), (other, "queued")):
        Job.objects.create(user=user, kind="train", queue="training", title="hey compass", state=state)
    for user in (owner, other):
        detector = Detector.objects.create(user=user, phrase="hey compass", language="en")
        for state in ("new", "new", "taken"):
            Sample.objects.create(user=user, detector=detector, verdict="missed", state=state, seconds=1, version=1)
    page = owners.get("/").text
    assert [part.split("<")[0] for part in page.split('class="count">')[1:]] == ["3", "1", "2"]


def test_the_bell_includes_shared_samples_immediately(owners: Client, owner: User, other: User) -> None:
    organization = Organization.objects.create(name="Lighthouse")
    detector = Detector.objects.create(user=other, phrase="hey compass", language="en", organization=organization)
    Sample.objects.create(
        user=other, marked_by=owner, detector=detector, verdict="missed", state="new", seconds=1, version=1
    )
    assert 'class="count"' not in owners.get("/").text
    Membership.objects.create(organization=organization, user=owner, role=Role.MEMBER)
    assert 'class="count">1<' in owners.get("/").text
    Membership.objects.all().delete()
    assert 'class="count"' not in owners.get("/").text


def test_cached_menus_differ_by_user_and_language(owners: Client, others: Client) -> None:
    """Menus are cached: one user after the other opens the same page."""
    for _ in range(2):
        for client, language, users in ((owners, "en", "Users"), (others, "en", ""), (owners, "de", "Benutzer")):
            page = client.get("/help", headers={"Accept-Language": language}).text
            assert (reverse("accounts:users") in page) == bool(users) and users in page
            assert ("Detectors" in page) == (language == "en")


def test_every_page_highlights_one_menu_entry(owners: Client, owner: User, other: User) -> None:
    """The highlighted entry is visible while the menus are closed."""
    for name, path in every_page(owner).items():
        header = flat(owners.get(path)).split("</header>")[0]
        closed = re.sub(r"</summary><ul>.*?</ul>", "", header, flags=re.S)
        assert len(re.findall(r"<(?:a|summary)[^>]* aria-current", closed)) == 1, name


def test_a_theme_is_remembered_by_the_browser_and_can_be_reset(owners: Client) -> None:
    assert "data-theme" not in owners.get("/").text
    answer = owners.post("/account/theme", {"theme": "dark", "next": "/jobs/?page=2"})
    assert (answer.status_code, answer["Location"]) == (303, "/jobs/?page=2")
    assert '<html lang="en" data-theme="dark">' in owners.get("/").text
    owners.post("/account/theme", {"theme": "", "next": "/"})
    assert "data-theme" not in owners.get("/").text


@pytest.mark.parametrize("then", ["https://elsewhere.example/", "//elsewhere.example/", ""])
def test_the_theme_form_never_redirects_elsewhere(owners: Client, then: str) -> None:
    assert owners.post("/account/theme", {"theme": "light", "next": then})["Location"] == "/"


@pytest.mark.parametrize("theme", ['"><script>', "blue"])
def test_an_invalid_theme_falls_back_to_the_systems(owners: Client, theme: str) -> None:
    owners.cookies["theme"] = theme
    page = owners.get("/").text
    assert "data-theme" not in page and theme not in page


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
def test_lists_are_paged(
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
        Job.objects.create(user=owner, kind="train", queue="training", title=str(number))
    with django_assert_num_queries(statements):
        page = page_asked_for(rf.get(f"/{asked}"), Job.objects.order_by("created_at"), SIZE)
        assert [int(job.title) for job in page] == expected
        assert page.paginator.num_pages == pages
    assert page.has_next() == (pages > page.number)
