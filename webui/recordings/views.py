"""Pages of recordings: the list, a recording, live transcription, deletion."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core.errors import HarkError
from pipeline.jobs import TRANSCRIPTION_STAGES
from pipeline.recordings.transcription.transcribe import recognized_so_far
from pipeline.recordings.transcripts.captions import clock
from webui import speech
from webui.accounts.signed_in import signed_in
from webui.http.parameters import for_the_network, page_asked_for
from webui.jobs.models import Job
from webui.jobs.services import stages_of
from webui.keys.sealing import shown_now
from webui.organizations.access import owned, sharing_of, to_change
from webui.recordings import deletion
from webui.recordings.editing import speaker_changes
from webui.recordings.editing.history import newest
from webui.recordings.live import sessions
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.reading.page import derived_context, recording_of, transcript_context
from webui.recordings.sharing import links
from webui.recordings.transcribing import expected_words, intake
from webui.recordings.transcribing.form import form_context, options_of

PAGE = 25
MAX_SEGMENTS_SHOWN = 40  # segments shown during a transcription


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    voices = speaker_changes.voices_of(signed_in(request))
    return render(request, "recordings/index.html", {**_rows(request), **form_context(), "voices": voices})


@require_GET
def rows(request: HttpRequest) -> HttpResponse:
    """Show the list (a fragment). The page requests it again while an entry is active."""
    return render(request, "recordings/rows.html", _rows(request))


def _rows(request: HttpRequest) -> dict[str, Any]:
    page = page_asked_for(request, transcripts.recordings_seen_by(signed_in(request)), PAGE)
    recordings = list(page.object_list)
    is_working = any(recording.now == Recording.State.WORKING for recording in recordings)
    return {"page": page, "recordings": recordings, "going": is_working}


@never_cache
@require_GET
def recording(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show a recording: its progress, or its transcript; a new link to it is shown once."""
    recording = recording_of(request, recording_id)
    standing = sharing_of(recording, signed_in(request))
    context: dict[str, Any]
    if recording.now == Recording.State.WORKING or recording.version == 0:
        context = {"job": recording.job, "stages": stages_of("transcribe"), "problem": recording.error}
        context |= so_far_context(recording) | {"unreadable": _is_unreadable(recording.job)}
        if recording.job is None or not recording.job.is_going:
            context |= form_context()
        return render(request, "recordings/working.html", {**context, **standing})
    own = standing["own"]
    result = (recording.job.result if recording.job is not None else None) or {}
    context = {
        "recording": recording,
        **transcript_context(recording, transcripts.transcript_of(recording)),
        **standing,
        "shares": list(recording.shares.all()) if own else [],
        "share_days": links.SHARE_DAYS,
        "most_share_days": links.MAX_SHARE_DAYS,
        "new_link": shown_now(request, f"link of {recording.pk}").get("link", ""),
        "warnings": result.get("warnings_parts", []),
        "expected_words": expected_words.expected(recording.user, recording.language or None) if own else [],
        **derived_context(recording),
        "network": for_the_network(request),
        "undoes": newest(recording.path) is not None,
        "problem": recording.error,
        "speaks": speech.voice_for(signed_in(request), recording.language or "en") is not None,
        **form_context(),
    }
    return render(request, "recordings/recording.html", context)


@require_GET
def so_far(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show the latest segments of a transcription (a fragment, hidden if no transcription is active)."""
    return render(request, "recordings/so_far.html", so_far_context(recording_of(request, recording_id)))


def so_far_context(recording: Recording) -> dict[str, Any]:
    is_working = recording.now == Recording.State.WORKING
    segments = recognized_so_far(recording.path) if is_working else []
    lines = [(clock(segment.start_s), segment.text) for segment in segments[-MAX_SEGMENTS_SHOWN:]]
    return {"recording": recording, "going": is_working, "said": lines, "more": len(segments) > MAX_SEGMENTS_SHOWN}


def _is_unreadable(job: Job | None) -> bool:
    """Return whether the job failed because of the uploaded file, so that another attempt would fail too."""
    if job is None or job.state != Job.State.FAILED or job.stage != TRANSCRIPTION_STAGES[0][0]:
        return False
    return (job.error or {}).get("reason", HarkError.reason) == HarkError.reason


@require_POST
def retranscribe(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Transcribe the recording again with other options."""
    recording = recording_of(request, recording_id, to_change)
    intake.transcribe_again(recording=recording, options=options_of(request))
    return redirect("recordings:recording", recording_id)


@require_POST
def retry(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    intake.retry(recording=recording_of(request, recording_id, to_change))
    return redirect("recordings:recording", recording_id)


@require_GET
def live_page(request: HttpRequest) -> HttpResponse:
    """Show the page of live transcription with the user's detectors."""
    detectors = [detector for detector, _version in sessions.detectors_of(signed_in(request))]
    return render(request, "recordings/live.html", {"detectors": detectors, **form_context()})


def delete(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Delete a recording after the user has confirmed it."""
    recording = recording_of(request, recording_id, owned)
    if request.method != "POST":
        return render(request, "recordings/delete.html", {"recording": recording})
    deletion.delete(recording=recording)
    messages.success(request, _("The recording was deleted."))
    return redirect("recordings:index")
