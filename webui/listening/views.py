"""Pages to try a detector with a microphone or a file, and the inbox."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.errors import HarkError
from webui.accounts.signed_in import signed_in
from webui.http.parameters import page_asked_for
from webui.http.slots import slot
from webui.http.uploads import on_disk
from webui.listening import services
from webui.listening.models import Sample
from webui.organizations.access import owned, to_change, visible
from webui.trainer.models import Detector, Version
from webui.trainer.services import version_of
from webui.trainer.version_files import asked_rate

PAGE = 30


@require_GET
def attempt(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Show the page with microphone and file; ``?fa_per_day=X`` sets the threshold for that rate."""
    version, rate = version_of(signed_in(request), detector_id, number), asked_rate(request)
    mine = Version.objects.editable_by(signed_in(request)).filter(pk=version.pk)
    content = {"version": version, "rate": "" if rate is None else f"{rate:g}", "may_change": mine.exists()}
    return render(request, "listening/try.html", content)


@require_GET
def ready(request: HttpRequest) -> HttpResponse:
    """Preload the zero-shot detector of ``?phrase=&language=``. Errors are reported when the phrase is tried."""
    signed_in(request)
    with suppress(HarkError):
        services.zero_shot_runtime(request.GET.get("phrase", ""), request.GET.get("language") or "en")
    return HttpResponse(status=204)


@require_POST
def file(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Return waveform, scores and detections of a recording as JSON; ``?fa_per_day=X`` as for the page."""
    version, rate = version_of(signed_in(request), detector_id, number), asked_rate(request)
    with _uploaded(request) as path:
        return JsonResponse(services.detect_in_file(version, path, rate))


@require_POST
def mark(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Put a segment of a recording into the inbox; parameters: the recording, ``start_s``, ``end_s``, ``verdict``."""
    version = version_of(signed_in(request), detector_id, number, to_change)
    try:
        start, end = float(request.POST["start_s"]), float(request.POST["end_s"])
        if not (start >= 0.0 and math.isfinite(end)):
            raise ValueError("not a time")
    except (KeyError, ValueError) as error:
        why = _("The selection has no start or no end.")
        raise HarkError(_("The request could not be read."), why, _("Mark it again.")) from error
    with _uploaded(request) as path:
        sample = services.save_segment(
            user=signed_in(request),
            version=version,
            path=path,
            verdict=request.POST.get("verdict", ""),
            start_s=start,
            end_s=end,
        )
    return JsonResponse({"kept": {"id": sample.pk}})


@contextmanager
def _uploaded(request: HttpRequest) -> Iterator[Path]:
    """Store the upload on disk during the block. The block also counts as a waiting request of the user."""
    upload = request.FILES.get("audio")
    if upload is None:
        raise HarkError(_("No recording was uploaded."), _("The form has no file."), _("Choose a file."))
    with slot(signed_in(request)), on_disk(upload) as path:
        yield path


@require_GET
def inbox(request: HttpRequest) -> HttpResponse:
    """List marked samples and clips from devices, newest first; of shared detectors only the user's own."""
    samples = Sample.objects.visible_to(signed_in(request)).select_related("detector__organization")
    page = page_asked_for(request, samples, PAGE)
    context: dict[str, Any] = {"page": page}
    if page:
        context["sure"] = Counter(services.sorted_waiting(signed_in(request)).values_list("sorted_as", flat=True))
        context["retrainable"] = services.retrainable(signed_in(request))
    return render(request, "listening/inbox.html", context)


@require_POST
def confirm_sorted(request: HttpRequest) -> HttpResponse:
    """Accept the recognizer's verdict on all clips for which it is certain."""
    services.confirm_sorted(user=signed_in(request))
    return redirect("listening:inbox")


@require_POST
def wakes(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Set whether devices may send clips: ``allowed`` is in the form, or missing."""
    mine = owned(Detector.objects.all(), signed_in(request), id=detector_id)
    services.allow_wakes(detector=mine, allowed="allowed" in request.POST)
    return redirect(reverse("trainer:detector", args=[detector_id]))


@require_GET
def sample_audio(request: HttpRequest, sample_id: int) -> FileResponse:
    sample = visible(Sample.objects.select_related("user"), signed_in(request), id=sample_id)
    return services.audio_response(sample)


@require_POST
def decide(request: HttpRequest, sample_id: int) -> HttpResponse:
    """Apply the ``decision``: take or discard; for a device's clip, phrase, other or discard."""
    sample = to_change(Sample.objects.select_related("user", "detector"), signed_in(request), id=sample_id)
    if request.POST.get("decision") == "take":
        services.take(sample=sample)
    elif request.POST.get("decision") in ("phrase", "other") and sample.kind:
        services.confirm(sample=sample, is_phrase=request.POST["decision"] == "phrase")
    elif request.POST.get("decision") == "discard":
        services.discard(sample=sample)
    return redirect("listening:inbox")
