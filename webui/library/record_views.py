"""Recordings of the user's own utterances, prompted one by one, checked, and stored for the test or training."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.confinement.foreign_audio import read_foreign_audio
from core.errors import HarkError
from db.records import Clip
from model.metrics import wilson_interval
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.corpora import enrolment
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.http.parameters import whole_number
from webui.http.uploads import on_disk
from webui.jobs.quota import check_room
from webui.library import services
from webui.listening.services import runtime_of
from webui.trainer.models import Detector, Version, in_use_of

MAX_TAKES = 50  # maximum prompts
MAX_TRIED = 100  # newest takes on which a detector is tried while the user waits
MAX_TAKE_BYTES = 2_000_000  # maximum bytes of a take


@require_GET
def record(request: HttpRequest) -> HttpResponse:
    """Ask for a phrase, or show its recorder (``?phrase=&language=&count=``)."""
    user = signed_in(request)
    words, language = request.GET.get("phrase", "").strip(), request.GET.get("language") or "en"
    detectors = list(Detector.objects.owned_by(user))
    context: dict[str, Any] = {"detectors": detectors, "phrase": words, "language": language, "count": enrolment.COUNT}
    if not words:
        return render(request, "library/record.html", context)
    try:
        phrase = Keyphrase.of(words, language).text
    except HarkError as problem:
        return render(request, "library/record.html", {**context, "problem": problem}, status=422)
    wanted = whole_number(request.GET.get("count")) or enrolment.COUNT
    hints = [{**asdict(hint), "shown": _(hint.words)} for hint in enrolment.hints(min(wanted, MAX_TAKES))]
    context |= {
        "phrase": phrase,
        "recording": True,
        "count": len(hints),
        "hints": json.dumps(hints),
        "seconds": str(enrolment.TAKE_S),  # for the script, which needs a decimal point in every language
        "takes": f"{reverse('library:takes')}?{urlencode({'phrase': phrase, 'language': language})}",
    }
    return render(request, "library/record.html", context)


@require_POST
def check(request: HttpRequest) -> JsonResponse:
    """Return the problems of a take and its usable part, without storing it."""
    take = enrolment.examine(_audio(request))
    return JsonResponse(
        {
            "usable": take.usable,
            "seconds": round(take.seconds, 2),
            "level_db": take.level_db,
            "problems": [_(words) for words in take.words],
        }
    )


@require_POST
def keep(request: HttpRequest) -> JsonResponse:
    """Store a take: ``audio``, ``phrase``, ``language``, ``hint``, and ``take``, an id that prevents duplicates."""
    user = signed_in(request)
    try:
        identifier = str(UUID(request.POST.get("take", "")))
    except ValueError as error:
        raise HarkError(
            _("The request could not be read."), _("The recording has no id."), _("Reload the page.")
        ) from error
    check_room(user, MAX_TAKE_BYTES)
    take = enrolment.examine(_audio(request), request.POST.get("hint", "")[:100], identifier)
    keyphrase = Keyphrase.of(request.POST.get("phrase", ""), request.POST.get("language") or "en")
    with services.library_of(user) as library:
        (clip_id,) = enrolment.save(
            library, [take], keyphrase=keyphrase, speaker=f"user-{user.pk}", role=enrolment.TEST
        )
    return JsonResponse({"kept": {"id": clip_id}})


def _audio(request: HttpRequest) -> Any:
    upload = request.FILES.get("audio")
    if upload is None or not upload.size or upload.size > MAX_TAKE_BYTES:
        raise HarkError(
            _("That recording cannot be used."),
            _("It is empty, or longer than %(most)d s.") % {"most": enrolment.MAX_TAKE_S},
            _("Record it again."),
        )
    with on_disk(upload) as path:
        return read_foreign_audio(path, max_seconds=enrolment.MAX_TAKE_S + 1.0)


@require_GET
def takes(request: HttpRequest) -> HttpResponse:
    """Show the takes of a phrase (a fragment). With ``?try=1``, it shows which of them the version in use detects."""
    user = signed_in(request)
    phrase, language = request.GET.get("phrase", ""), request.GET.get("language", "en")
    version = in_use_of(_versions(user, phrase, language))
    context: dict[str, Any] = {"phrase": phrase, "language": language, "version": version, "rows": []}
    if services.has_library(user):
        rows = _takes(user, phrase, language, version if "try" in request.GET else None)
        clips = [row["clip"] for row in rows]
        if clips and version is not None and "try" in request.GET:
            context["results"] = _results(rows)
        context["rows"] = rows[::-1]
        context["tests"] = _with_role(clips, enrolment.TEST)
        context["given"] = _with_role(clips, enrolment.TRAIN)
    context["seconds"] = len(context["rows"]) and round(sum(row["clip"].duration_s for row in context["rows"]))
    return render(request, "library/takes.html", context)


@require_GET
def own_voice(request: HttpRequest) -> HttpResponse:
    """Show how many of the user's own test takes a version of a phrase's detector detects (a fragment).

    The URL has ``?phrase=&language=&version=``, and ``&detector=`` for one that may be shared with the user.
    """
    user = signed_in(request)
    phrase, language = request.GET.get("phrase", ""), request.GET.get("language", "en")
    number = whole_number(request.GET.get("version"))
    detector = whole_number(request.GET.get("detector"))
    versions = _versions(user, phrase, language, detector)
    version = next((each for each in versions if each.number == number), None)
    context: dict[str, Any] = {"phrase": phrase, "language": language}
    if version is not None and services.has_library(user):
        results = _results(_takes(user, phrase, language, version, enrolment.TEST))
        context["result"] = results[0] if results else None
    return render(request, "library/own_voice.html", context)


def _versions(user: User, phrase: str, language: str, detector: int | None = None) -> list[Version]:
    """Return the versions of the user's own detector of a phrase, or of the visible one with that number."""
    known = Version.objects.select_related("detector__user")
    versions = known.owned_by(user) if detector is None else known.visible_to(user).filter(detector__id=detector)
    return list(versions.filter(detector__phrase=phrase, detector__language=language))


def _takes(
    user: User, phrase: str, language: str, version: Version | None, role: str | None = None
) -> list[dict[str, Any]]:
    """Return the newest takes of a phrase, of one role or all; ``heard`` is None without a version."""
    with services.library_of(user) as library:
        clips = enrolment.saved_takes(library, phrase=phrase, language=language)
        clips = [clip for clip in clips if role in (None, clip.settings["role"])][-MAX_TRIED:]
        if version is None or not clips:
            return [{"clip": clip, "heard": None} for clip in clips]
        outcomes = enrolment.detected(runtime_of(version), [library.read_audio(clip) for clip in clips])
        return [{"clip": clip, "heard": outcome} for clip, outcome in zip(clips, outcomes)]


def _with_role(clips: list[Clip], role: str) -> int:
    return sum(clip.settings["role"] == role for clip in clips)


def _results(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count the detected takes, separately for the test and for training."""
    results = []
    for role in enrolment.ROLES:
        of_role = [row["heard"] for row in rows if row["clip"].settings["role"] == role]
        if of_role:
            interval = wilson_interval(sum(of_role), len(of_role))
            results.append(
                {
                    "role": role, "heard": sum(of_role), "of": len(of_role),
                    "low": round(100 * interval.low), "high": round(100 * interval.high),
                }
            )  # fmt: skip
    return results


@require_POST
def role(request: HttpRequest) -> HttpResponse:
    """Use the takes of a phrase for training."""
    user = signed_in(request)
    phrase, language = request.POST.get("phrase", ""), request.POST.get("language", "en")
    if services.has_library(user):
        with services.library_of(user) as library:
            clips = enrolment.saved_takes(library, phrase=phrase, language=language)
            given = [clip for clip in clips if clip.settings["role"] == enrolment.TEST]
            enrolment.set_role(library, given, enrolment.TRAIN)
        if given:
            messages.success(request, _("The next version of this detector will be trained with your recordings."))
    return redirect(f"{reverse('library:record')}?{urlencode({'phrase': phrase, 'language': language})}")
