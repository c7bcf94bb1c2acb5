"""Links to a recording and the pages behind them; its use for training."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from webui.http.parameters import whole_number
from webui.keys.sealing import show_next
from webui.organizations.access import owned
from webui.recordings.models import Recording, Share
from webui.recordings.reading import transcripts
from webui.recordings.reading.page import recording_of, send_audio, send_waveform, transcript_context, transcript_json
from webui.recordings.sharing import links
from webui.recordings.sharing.minable import set_minable


@require_POST
def minable(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    wanted = "minable" in request.POST
    set_minable(recording=recording_of(request, recording_id, owned), minable=wanted)
    if wanted:
        words = _("Its passages are now in your clip library, and training searches them for phrases.")
    else:
        words = _("Its passages were removed from your clip library.")
    messages.success(request, words)
    return redirect("recordings:recording", recording_id)


@never_cache
@require_http_methods(["GET", "POST"])
def share(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Create a link for ``days`` days. The recording's page shows it once; GET redirects to that page."""
    recording = recording_of(request, recording_id, owned)
    if request.method == "POST":
        _share, token = links.share(recording=recording, days=whole_number(request.POST.get("days")) or 0)
        link = request.build_absolute_uri(reverse("recordings:shared", args=[token]))
        show_next(request, f"link of {recording.pk}", {"link": link})
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#sharing")


@require_POST
def revoke(request: HttpRequest, recording_id: UUID, share_id: int) -> HttpResponse:
    recording = recording_of(request, recording_id, owned)
    links.revoke(share=get_object_or_404(Share, id=share_id, recording=recording))
    messages.success(request, _("The link no longer works."), extra_tags="near-sharing")
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#sharing")


def _shared(token: str) -> Recording:
    try:
        return links.shared(token).recording
    except Share.DoesNotExist as error:
        raise Http404 from error


@login_not_required
@never_cache
@require_GET
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Show a recording, read-only, to anyone who has its link."""
    recording = _shared(token)
    transcript = transcripts.transcript_of(recording)
    context = {"recording": recording, "token": token, **transcript_context(recording, transcript)}
    response = render(request, "recordings/shared.html", context)
    response["X-Robots-Tag"] = "noindex"
    response["Referrer-Policy"] = "no-referrer"
    return response


@login_not_required
@require_safe
def shared_audio(request: HttpRequest, token: str) -> HttpResponseBase:
    return send_audio(request, _shared(token))


@login_not_required
@never_cache
@require_GET
def shared_waveform(request: HttpRequest, token: str) -> HttpResponse:
    return send_waveform(_shared(token))


@login_not_required
@never_cache
@require_GET
def shared_words(request: HttpRequest, token: str) -> JsonResponse:
    recording = _shared(token)
    return JsonResponse(transcript_json(recording, transcripts.transcript_of(recording)))
