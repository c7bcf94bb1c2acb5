"""Pages of a transcript: its passages, audio, summary, translations and files."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from pipeline.recordings.files.recording_folder import POLISHED_TEXT
from webui.accounts.signed_in import signed_in
from webui.organizations.access import sharing_of, to_change, visible
from webui.recordings.reading import derived, transcripts
from webui.recordings.reading.page import (
    derived_context,
    no_file,
    recording_of,
    send_audio,
    send_waveform,
    summary_context,
    transcript_json,
)


@require_http_methods(["GET", "POST"])
def summary(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show the summary (a fragment). The page requests it again while another summary is being made.

    POST makes another one; with ``follow``, only if it is outdated.
    """
    recording = recording_of(request, recording_id, to_change if request.method == "POST" else visible)
    if "follow" in request.POST:
        derived.follow_corrections(recording=recording)
    elif request.method == "POST":
        derived.summarize_again(recording=recording, engine=request.POST.get("engine") or "auto")
        return redirect(reverse("recordings:recording", args=[recording_id]) + "#summary")
    transcript = transcripts.transcript_of(recording)
    context = {
        "recording": recording,
        "summary": summary_context(derived.summary_of(recording), transcript),
        "segments": transcript.segments,
        **sharing_of(recording, signed_in(request)),
        **derived_context(recording),
    }
    return render(request, "recordings/summary.html", context)


@require_http_methods(["GET", "POST"])
def polished(request: HttpRequest, recording_id: UUID) -> HttpResponseBase:
    """Download the cleaned-up transcript as a text file; POST queues it."""
    recording = recording_of(request, recording_id, to_change if request.method == "POST" else visible)
    if request.method == "POST":
        derived.polish(recording=recording)
        return redirect(reverse("recordings:recording", args=[recording_id]) + "#more-title")
    try:
        file = (recording.path / POLISHED_TEXT).open("rb")
    except OSError as error:
        raise no_file(_("There is no cleaned-up transcript.")) from error
    name = f"{derived.file_stem(recording)} (polished).txt"
    return FileResponse(file, as_attachment=True, filename=name, content_type="text/plain; charset=utf-8")


@require_GET
def words(request: HttpRequest, recording_id: UUID) -> JsonResponse:
    recording = recording_of(request, recording_id)
    return JsonResponse(transcript_json(recording, transcripts.transcript_of(recording)))


@require_safe
def audio(request: HttpRequest, recording_id: UUID) -> HttpResponseBase:
    return send_audio(request, recording_of(request, recording_id))


@require_GET
def waveform(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    return send_waveform(recording_of(request, recording_id))


@require_GET
def export(request: HttpRequest, recording_id: UUID) -> FileResponse:
    """Download the transcript, ``?format=`` one of ``captions.FORMATS``; with ``?language=`` its translation."""
    wanted, language = request.GET.get("format", "txt").lower(), request.GET.get("language", "")
    return derived.export(recording_of(request, recording_id), wanted, language)


@require_POST
def translate(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    derived.translate(
        recording=recording_of(request, recording_id, to_change), language=request.POST.get("language", "")
    )
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#more-title")


@require_GET
def original(request: HttpRequest, recording_id: UUID) -> FileResponse:
    """Download the uploaded file, or the first of several."""
    recording = recording_of(request, recording_id)
    try:
        file = (recording.path / recording.originals[0]).open("rb")
    except (OSError, IndexError) as error:
        raise no_file(_("The uploaded file is missing.")) from error
    # "a.wav and 2 more" is not a file name.
    name = recording.name if len(recording.originals) == 1 else recording.originals[0]
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream")
