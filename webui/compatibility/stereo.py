"""The earlier system for calls with one person on each channel. In its API, a call is a session."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404

from core.errors import HarkError
from pipeline.recordings.transcripts.transcript import Transcript
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.api.endpoints import endpoint, number, wrong
from webui.compatibility.transcribing import failure_of
from webui.compatibility.uploads import sent_files
from webui.jobs.models import Job
from webui.recordings.models import Recording, Recordings
from webui.recordings.reading import derived, transcripts
from webui.recordings.transcribing import intake
from webui.recordings.uploading.whole_files import name_of, one_by_one, received
from webui.translation import explained

SESSION = "stereo"  # the option ``session`` of recordings uploaded here
USUAL, MAX_LIMIT = 20, 100  # default and maximum number of sessions in a list
MAX_FILES = 50  # files per POST
STATES = {
    "pending": Recording.State.UPLOADED,
    "processing": Recording.State.WORKING,
    "completed": Recording.State.READY,
    "failed": Recording.State.FAILED,
}
SIDES = {"L": "left", "R": "right"}  # speaker ids of two-channel recognition


@endpoint("GET", "POST", scopes=("audio",), fields=("file", "files", "audio", "language", "engine"))
def sessions(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /api/v1/transcribe``: begin sessions; ``GET`` lists those of the caller, newest first."""
    if request.method == "POST":
        return _begin(request)
    limit, offset = number(request, "limit", USUAL, MAX_LIMIT), number(request, "offset", 0, 10**6)
    status = request.GET.get("status", "")
    rows = _sessions(signed_in(request))
    if status:
        if status not in STATES:
            raise wrong("That status does not exist.", f"It is {status[:40]!r}.", f"Send one of {', '.join(STATES)}.")
        rows = _with_status(rows, status)
    total = rows.count()
    listing = [_listed(recording) for recording in rows.select_related("user")[offset : offset + limit]]
    return JsonResponse({"sessions": listing, "total": total, "limit": limit, "offset": offset})


def _sessions(user: User) -> Recordings:
    return transcripts.recordings_of(user).filter(options__session=SESSION)


def _with_status(rows: Recordings, status: str) -> Recordings:
    """Filter by status; a recording in the queue is pending."""
    recordings = rows.in_state(STATES[status])
    if status == "pending":
        return recordings | rows.filter(job__state=Job.State.QUEUED)
    return recordings.exclude(job__state=Job.State.QUEUED)


def _begin(request: HttpRequest) -> HttpResponse:
    """Begin a session for each file; for several, the response names the rejected ones."""
    uploads = sent_files(request, "file", "files", "audio")
    if len(uploads) > MAX_FILES:
        raise wrong("Too many files.", f"A request may contain {MAX_FILES}.", "Send the others in another request.")
    user = signed_in(request)
    options = {name: request.POST.get(name) for name in ("engine", "language")} | {"session": SESSION}

    def take(upload: UploadedFile) -> Recording:
        with received(user, upload) as (path, facts):
            if facts.channels != 2:
                raise wrong(
                    "The recording is not stereo.",
                    f"It has {facts.channels} channel{'' if facts.channels == 1 else 's'}; here each of two holds one "
                    "person.",
                    "Send it to POST /api/v1/recordings, where speakers are detected by their voices.",
                )
            return intake.create_recording(user=user, name=name_of(upload), source=path, options=options)

    recordings, refused = one_by_one(uploads, take)
    if len(uploads) == 1:
        return JsonResponse(_head(recordings[0]), status=202)
    return JsonResponse({"sessions": [_head(one) for one in recordings], "refused": refused}, status=202)


@endpoint("GET", scopes=("audio", "read"))
def session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Handle ``GET /api/v1/transcribe/{session_id}``: its progress or, when completed, its results."""
    return JsonResponse(_whole(get_object_or_404(_sessions(signed_in(request)).select_related("user"), pk=session_id)))


def _listed(recording: Recording) -> dict[str, Any]:
    """Describe a session in a list. If its files are damaged, describe the error, so that the list still works."""
    try:
        return _whole(recording)
    except HarkError as error:
        return {**_head(recording), "error": explained(error)}


def _whole(recording: Recording) -> dict[str, Any]:
    """Describe a session, with its results if completed. Raises HarkError if they cannot be read."""
    content = _head(recording)
    if content["status"] == "failed":
        content["error"] = explained(failure_of(recording))
    if content["status"] == "completed":
        transcript = transcripts.transcript_of(recording)
        seconds = recording.job.seconds if recording.job is not None else None
        content["transcript"] = {"segments": segments_of(transcript)}
        content["summary"] = summary_shape(derived.summary_of(recording))
        content["metadata"] = {
            "duration": round(transcript.duration_s, 3),
            "processing_time": None if seconds is None else round(seconds, 3),
            "model_versions": dict(transcript.versions),
        }
    return content


def _head(recording: Recording) -> dict[str, Any]:
    status = next(name for name, state in STATES.items() if recording.now == state)
    job = recording.job
    if status == "processing" and job is not None and job.state == Job.State.QUEUED:
        status = "pending"
    return {
        "session_id": str(recording.pk),
        "status": status,
        "filename": recording.name,
        "created_at": recording.created_at.isoformat(),
        "progress": {"stage": job.stage, "done": job.done, "total": job.total} if job is not None else None,
    }


def segments_of(transcript: Transcript) -> list[dict[str, Any]]:
    """Return segments in that system's format.

    Each has its channel (left or right) if the channels are persons, otherwise its speaker.
    """
    return [
        {
            "speaker": side_of(transcript, segment.speaker),
            "start_time": round(segment.start_s, 3),
            "end_time": round(segment.end_s, 3),
            "text": segment.text,
            "confidence": round(segment.confidence, 4),
        }
        for segment in transcript.segments
    ]


def side_of(transcript: Transcript, speaker: str) -> str | None:
    """Return the channel of a speaker, "left" or "right".

    Return the speaker's id if the channels do not hold one person each, and None if the speaker is unknown.
    """
    if transcript.diarization == "channels":
        # If the speakers were detected after the words, only the name determines the channel.
        named = transcript.speaker_name(speaker).partition(" ")[0].lower()
        side = SIDES.get(speaker) or (named if named in SIDES.values() else None)
        if side is not None:
            return side
    return speaker or None


def summary_shape(summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return ``{text, key_points, sentiment}`` of a summary; None without one."""
    if summary is None:
        return None
    sentiment = summary["sentiment"]
    return {
        "text": summary["text"],
        "key_points": [point["text"] for point in summary["key_points"]],
        "sentiment": sentiment["label"] if sentiment is not None else None,
    }
