"""The page of live transcription."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from webui.accounts.signed_in import signed_in
from webui.audio import live as listening
from webui.audio.views import form_context


@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """Words while they are said; the user's detectors and transcripts listen along."""
    detectors = [detector for detector, _version in listening.detectors_of(signed_in(request))]
    return render(request, "audio/live.html", {"detectors": detectors, **form_context()})
