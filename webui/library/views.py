"""The clip library in the browser: search, listen, trim, correct, exclude, delete."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from core.errors import HarkError
from db.records import Clip
from webui.accounts.signed_in import signed_in
from webui.http.parameters import whole_number
from webui.library import services

FIELDS = ("q", "engine", "voice", "language", "origin", "state")  # fields of the form; the query also names the page
ORIGIN_WORDS = {
    "generated": _("synthetic"),
    "imported": _("recordings of people"),
    "recorded": _("my own recordings"),
    "cut": _("cuts"),
}
STATE_WORDS = {"": _("in use"), "rejected": _("excluded"), "any": _("in use or excluded")}
ACTIONS = ("reject", "restore", "delete")


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """List clips, newest first, fifty per page, with a search."""
    user = signed_in(request)
    if not services.has_library(user):
        return render(request, "library/index.html", {"empty": True})
    filters = services.filters_of(request.GET.dict())
    with services.library_of(user) as library:
        engines, languages = library.engines_and_languages()
        before, after = (whole_number(request.GET.get(name)) for name in ("before", "after"))
        page = services.page(library, filters, before, after)
        count = library.count(filters, services.MAX_COUNTED + 1)
    query = {name: value for name in FIELDS if (value := request.GET.get(name, ""))}
    context = {
        "empty": not engines,
        "page": page,
        "rows": [_row(clip) for clip in page.clips],
        "count": count,
        "most": services.MAX_COUNTED,
        "chosen": {name: request.GET.get(name, "") for name in FIELDS},
        "anywhere": services.anywhere(filters),
        "engines": engines,
        "languages": languages,
        "origins": ORIGIN_WORDS.items(),
        "states": STATE_WORDS.items(),
        "here": urlencode({**query, **({"before": before} if before else {"after": after} if after else {})}),
        "newer": urlencode({**query, "after": page.newer}) if page.newer else "",
        "older": urlencode({**query, "before": page.older}) if page.older else "",
        "first": urlencode(query),
    }
    return render(request, "library/index.html", context)


def _row(clip: Clip) -> dict[str, Any]:
    """Prepare a row of the page here, because fifty rows are slow in a template."""
    mark: Any = ""
    if clip.settings.get("recorded"):
        mark = _("mine, for training") if clip.settings.get("role") == "train" else _("mine, for the test")
    elif clip.parent_id is not None:
        mark = _("cut")
    return {
        "id": str(clip.id),
        "address": reverse("library:clip", args=[clip.id]),
        "audio": reverse("clip", args=[clip.id]),
        "text": _short(clip.text_original or clip.text_normalized, 160) if clip.text_known else "",
        "mark": mark,
        "aside": clip.state != "ready",
        "engine": clip.engine,
        "who": _short(clip.voice or clip.speaker, 40),
        "seconds": number_format(f"{clip.duration_s:.1f}"),
        "licence": _short(clip.licence, 40),
    }


def _short(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


@require_GET
def space(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    stats = None
    if services.has_library(user):
        with services.library_of(user) as library:
            stats = library.stats()
    engines = [] if stats is None else [(n, c, stats.hours_by_engine[n]) for n, c in stats.by_engine.items()]
    return render(request, "library/space.html", {"stats": stats, "engines": engines, "space": services.space(user)})


@require_GET
def clip(request: HttpRequest, clip_id: int) -> HttpResponse:
    with services.clip_of(signed_in(request), clip_id) as (library, clip):
        parent = library.clips([clip.parent_id]) if clip.parent_id else []
        cuts = library.cuts_of([clip.id])
    context = {
        "clip": clip,
        "parent": parent[0] if parent else None,
        "cuts": cuts,
        "seconds": f"{clip.duration_s:.3f}",
    }
    return render(request, "library/clip.html", context)


@require_GET
def outline(request: HttpRequest, clip_id: int) -> JsonResponse:
    with services.clip_of(signed_in(request), clip_id) as (library, clip):
        return JsonResponse(services.outline(library, clip))


@require_POST
def text(request: HttpRequest, clip_id: int) -> HttpResponse:
    with services.clip_of(signed_in(request), clip_id) as (library, clip):
        services.relabel(library, clip, request.POST.get("text", ""))
    messages.success(request, _("The transcript was changed."))
    return redirect("library:clip", clip_id)


@require_POST
def trim(request: HttpRequest, clip_id: int) -> HttpResponse:
    """Create a new clip from a part. The whole one is excluded unless the user wants to keep it."""
    put_aside = "put_aside" in request.POST
    with services.clip_of(signed_in(request), clip_id) as (library, clip):
        try:
            start_s, end_s = float(request.POST["start_s"]), float(request.POST["end_s"])
        except (KeyError, ValueError) as error:
            why = gettext("The selection has no start or no end.")
            raise HarkError(gettext("The request could not be read."), why, gettext("Choose both.")) from error
        trimmed = services.trim(
            library, clip, start_s=start_s, end_s=end_s, text=request.POST.get("text", ""), put_aside=put_aside
        )
    words = _("This is the part; the whole clip is excluded.") if put_aside else _("This is the part.")
    messages.success(request, words)
    return redirect("library:clip", trimmed)


@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Exclude, restore or delete clips: ``clip`` (ids), ``action``; deleting asks for confirmation."""
    ids = {number for text in request.POST.getlist("clip") if (number := whole_number(text))}
    action = request.POST.get("action", "")
    if action not in ACTIONS or len(ids) > services.MAX_CLIPS_A_FORM:
        why = gettext("Hark does not recognize this form.")
        raise HarkError(gettext("The request could not be read."), why, gettext("Go back and try again."))
    user = signed_in(request)
    if not services.has_library(user):
        raise Http404
    with services.library_of(user) as library:
        if action == "delete" and "sure" not in request.POST and ids:
            clips = library.clips(ids)
            cuts = [cut for cut in library.cuts_of(ids) if cut.id not in ids and "trimmed" not in cut.settings]
            context = {
                "clips": clips,
                "cuts": len(cuts),
                "back": request.POST.get("back", ""),
                "at": whole_number(request.POST.get("at")),
            }
            return render(request, "library/delete.html", context)
        count = services.change(library, ids, action)
    if count:
        messages.success(request, _done(action, count))
    else:
        messages.warning(request, _("No clip was chosen."))
    at = whole_number(request.POST.get("at"))
    if at and action != "delete":
        return redirect("library:clip", at)
    # Only the query comes from the form, so it cannot lead to another page.
    back = QueryDict(request.POST.get("back", ""), mutable=False).urlencode()
    return redirect(reverse("library:index") + (f"?{back}" if back else ""))


def _done(action: str, count: int) -> str:
    words = {
        "reject": ngettext("%(n)d clip is excluded from training.", "%(n)d clips are excluded from training.", count),
        "restore": ngettext("%(n)d clip is included again.", "%(n)d clips are included again.", count),
        "delete": ngettext("%(n)d clip was deleted.", "%(n)d clips were deleted.", count),
    }
    return words[action] % {"n": count}


@require_GET
def audio(request: HttpRequest, clip_id: int) -> FileResponse:
    return services.audio_response(signed_in(request), clip_id)
