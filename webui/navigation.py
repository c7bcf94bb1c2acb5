"""What every page shows around its content: what waits for the reader, and the theme they chose."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST

from webui.accounts.signed_in import signed_in
from webui.accounts.views import safe_address
from webui.counts import CountsOfUser

THEMES = ("light", "dark")  # any other: the system's
THEME_S = 365 * 24 * 3600


def around_the_page(request: HttpRequest) -> dict[str, Any]:
    """A context processor. Counts are made where a template asks for them."""
    theme = request.COOKIES.get("theme", "")
    return {"waiting": SimpleLazyObject(lambda: _waiting(request)), "theme": theme if theme in THEMES else ""}


def _waiting(request: HttpRequest) -> dict[str, int]:
    counts = _counts().of(signed_in(request))
    return counts | {"all": sum(counts.values())}


@cache
def _counts() -> CountsOfUser:
    """Jobs that are not over, and marked clips that nobody has decided about."""
    from webui.jobs.models import Job
    from webui.listening.models import Sample

    return CountsOfUser(
        jobs=lambda user: Job.objects.owned_by(user).filter(state__in=Job.GOING),
        clips=lambda user: Sample.objects.editable_by(user).filter(state=Sample.State.NEW),
    )


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """``theme`` is light, dark or anything else for the system's; back to the page ``next``."""
    theme = request.POST.get("theme", "")
    then = safe_address(request, request.POST.get("next", ""))
    response = HttpResponse(status=303, headers={"Location": then})
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=THEME_S, samesite="Lax", secure=request.is_secure(), httponly=True)
    else:
        response.delete_cookie("theme")
    return response
