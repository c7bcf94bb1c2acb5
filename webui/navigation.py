"""The context of every page: the theme, and counts of what waits for the user; the start page and the help page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_GET, require_POST

from pipeline.backup import hark_version
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.http.parameters import page_asked_for, safe_address
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.recordings.reading.transcripts import recordings_seen_by
from webui.recordings.transcribing.form import form_context
from webui.trainer.models import Detector
from webui.trainer.services import TRAINING_KINDS, in_use

ANYONE = User(pk=-(2**31) + 1)  # placeholder for the user in a query
THEMES = ("light", "dark")  # any other value means the system's theme
THEME_S = 365 * 24 * 3600
PAGE = 12  # detectors per page
NEWEST = 4  # recordings on the start page
EXAMPLES = "hey lantern", "smart mirror", "good morning house"  # English phrases to which the adviser has no objection


class CountsOfUser:
    """Counts rows by queries that depend only on the user's id, in one statement that is built once per process.

    Building these queries took a quarter of a small page's CPU time; executing them took almost none.
    """

    def __init__(self, **queries: Callable[[User], QuerySet[Any, Any]]) -> None:
        self._queries = queries

    def of(self, user: User) -> dict[str, int]:
        """Return the number of rows of each query; 0 for a deactivated user."""
        if not user.is_active:
            return dict.fromkeys(self._queries, 0)
        sql, values = self._statement
        with connection.cursor() as cursor:
            cursor.execute(sql, [user.pk if value == ANYONE.pk else value for value in values])
            return dict(zip(self._queries, cursor.fetchone()))

    @cached_property
    def _statement(self) -> tuple[str, list[Any]]:
        counted: list[str] = []
        values: list[Any] = []
        for query in self._queries.values():
            sql, more = query(ANYONE).order_by().values("pk").query.sql_with_params()
            counted.append(f"(SELECT COUNT(*) FROM ({sql}) AS found)")
            values += more
        return f"SELECT {', '.join(counted)}", values


def theme_and_counts(request: HttpRequest) -> dict[str, Any]:
    """Provide the theme and the counts (context processor). Counts are queried only if a template uses them."""
    theme = request.COOKIES.get("theme", "")
    return {"waiting": SimpleLazyObject(lambda: _waiting(request)), "theme": theme if theme in THEMES else ""}


def _waiting(request: HttpRequest) -> dict[str, int]:
    counts = _counts().of(signed_in(request))
    return counts | {"all": sum(counts.values())}


@cache
def _counts() -> CountsOfUser:
    """Return the queries that count active jobs, and marked clips that await a decision."""
    return CountsOfUser(
        jobs=lambda user: Job.objects.owned_by(user).filter(state__in=Job.GOING),
        clips=lambda user: Sample.objects.editable_by(user).filter(state=Sample.State.NEW),
    )


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Show the start page: a phrase or recordings, the user's detectors and newest recordings, and active jobs."""
    detectors = Detector.objects.visible_to(signed_in(request)).select_related("organization")
    page = page_asked_for(request, detectors.order_by("-created_at", "-id"), PAGE)
    current = in_use(page.object_list)
    jobs = Job.objects.visible_to(signed_in(request))
    context = {
        "page": page,
        "detectors": [(detector, current.get(detector.pk)) for detector in page],
        "going": jobs.filter(state__in=Job.GOING, kind__in=TRAINING_KINDS),
        "recordings": recordings_seen_by(signed_in(request))[:NEWEST],
        "examples": EXAMPLES,
        **form_context(),
    }
    return render(request, "trainer/home.html", context)


@require_GET
def help_page(request: HttpRequest) -> HttpResponse:
    """Show what one can do in the portal, what its figures mean, its keys, and Hark's version."""
    return render(request, "help.html", {"version": hark_version()})


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Set the theme (``theme``: light, dark, or anything else for the system's), and redirect to ``next``."""
    theme = request.POST.get("theme", "")
    then = safe_address(request, request.POST.get("next", ""))
    response = HttpResponse(status=303, headers={"Location": then})
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=THEME_S, samesite="Lax", secure=request.is_secure(), httponly=True)
    else:
        response.delete_cookie("theme")
    return response
