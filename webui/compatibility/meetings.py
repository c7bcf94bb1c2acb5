"""The earlier system for meetings.

It turns a recording into files: a cleaned-up transcript, its speakers and a summary.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404

from core.errors import HarkError
from pipeline.recordings.files.recording_folder import POLISHED, POLISHED_TEXT, SUMMARY, TEXT, TRANSCRIPT
from pipeline.recordings.language_models import llm
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.api.endpoints import endpoint, switch, wrong
from webui.compatibility.transcribing import failure_of
from webui.compatibility.uploads import sent_files
from webui.http.parameters import whole_number
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings import deletion
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.transcribing import intake
from webui.recordings.transcribing.jobs import newest_job
from webui.recordings.uploading.whole_files import name_of, received
from webui.translation import explained

log = logging.getLogger(__name__)

SESSION, POLISHED_SESSION = "meeting", "meeting, polished"  # the option ``session`` of recordings uploaded here
ARTEFACTS = {
    TEXT: "text/plain; charset=utf-8",
    TRANSCRIPT: "application/json",
    SUMMARY: "application/json",
    POLISHED_TEXT: "text/plain; charset=utf-8",
    POLISHED: "application/json",
}
MAX_FILES = 20  # files per meeting
MAX_SHOWN = 100
FIELDS = ("audio", "file", "diarize", "speakers", "polish", "summary", "language", "engine")


@endpoint("GET", "POST", scopes=("audio",), fields=FIELDS)
def meetings(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /api/meetings``: audio (several files are one meeting, in order); ``GET`` lists the caller's."""
    if request.method == "GET":
        newest = _meetings(signed_in(request))[:MAX_SHOWN]
        return JsonResponse({"meetings": [_head(meeting) for meeting in newest]})
    uploads = sent_files(request, "audio", "file")
    if len(uploads) > MAX_FILES:
        raise wrong("Too many files.", f"A meeting may have {MAX_FILES}.", "Join some of the files first.")
    polish = _polish_wanted(request.POST)
    options = {
        "engine": request.POST.get("engine"),
        "language": request.POST.get("language"),
        "speakers": _count(request.POST.get("speakers")),
        "diarize": switch(request.POST, "diarize", True),
        "summarize": switch(request.POST, "summary", True),
        "session": POLISHED_SESSION if polish else SESSION,
    }
    user = signed_in(request)
    with ExitStack() as stack:
        first, *more = [stack.enter_context(received(user, upload))[0] for upload in uploads]
        meeting = intake.create_recording(user=user, name=name_of(uploads[0]), source=first, options=options, more=more)
    response = JsonResponse(_head(meeting), status=202)
    response["Location"] = f"/api/meetings/{meeting.pk}"
    return response


def _count(text: str | None) -> int | None:
    if not text:
        return None
    number = whole_number(text)
    if number is None:
        raise wrong(
            "The number of speakers is invalid.", "speakers must be a whole number.", "Leave it out, or send one."
        )
    return number


def _polish_wanted(sent: QueryDict) -> bool:
    """Return whether to clean up (``auto``: if there is a language model).

    Raises StatusError if it is requested and there is none.
    """
    ready = llm.available()
    if sent.get("polish", "").strip().lower() in ("", "auto"):
        return ready.ok
    if not switch(sent, "polish", False):
        return False
    if not ready.ok:
        raise wrong("The transcript cannot be cleaned up here.", ready.why, ready.how_to_enable)
    return True


def _meetings(user: User) -> QuerySet[Recording]:
    mine = transcripts.recordings_of(user).select_related("user")
    return mine.filter(options__session__in=(SESSION, POLISHED_SESSION))


def _head(meeting: Recording) -> dict[str, Any]:
    status, job = meeting.now, meeting.job
    head: dict[str, Any] = {
        "meeting_id": str(meeting.pk),
        "name": meeting.name,
        "status": str(status),
        "created_at": meeting.created_at.isoformat(),
    }
    if status == Recording.State.READY and meeting.options.get("session") == POLISHED_SESSION:
        polishing = newest_job(meeting, "polish")
        if polishing is not None and polishing.is_going:
            head["status"], job = "polishing", polishing
    if job is not None and job.is_going:
        head["progress"] = progress_of(job)
    if status == Recording.State.FAILED:
        head["error"] = explained(failure_of(meeting))
    return head


def progress_of(job: Job) -> dict[str, Any]:
    percent = round(100 * job.done / job.total, 1) if job.total else None
    return {
        "job": str(job.id),
        "state": job.state,
        "stage": job.stage,
        "message": job.message,
        "percent": percent,
        "eta_s": job.eta_s,
    }


@endpoint("GET", "DELETE", scopes=("audio",))
def meeting(request: HttpRequest, meeting_id: UUID) -> HttpResponse:
    """Handle ``GET /api/meetings/<id>``: its progress and artefacts; ``DELETE`` removes it with all files."""
    row = get_object_or_404(_meetings(signed_in(request)), pk=meeting_id)
    if request.method == "DELETE":
        deletion.delete(recording=row)
        return HttpResponse(status=204)
    content = _head(row)
    polishing = newest_job(row, "polish") if row.options.get("session") == POLISHED_SESSION else None
    if polishing is not None and polishing.error is not None:
        content["polish_error"] = explained(polishing.error)
    content["artefacts"] = [
        {"name": name, "url": f"/api/meetings/{row.pk}/artefacts/{name}", "bytes": (row.path / name).stat().st_size}
        for name in ARTEFACTS
        if (row.path / name).is_file()
    ]
    return JsonResponse(content)


@endpoint("GET", scopes=("audio",))
def artefact(request: HttpRequest, meeting_id: UUID, name: str) -> FileResponse:
    """Handle ``GET /api/meetings/<id>/artefacts/<name>``: a file that the meeting's own endpoint lists."""
    row = get_object_or_404(_meetings(signed_in(request)), pk=meeting_id)
    if name not in ARTEFACTS:
        raise Http404
    try:
        opened = (row.path / name).open("rb")
    except OSError as error:
        raise Http404 from error
    return FileResponse(opened, content_type=ARTEFACTS[name], filename=name, as_attachment=True)


@endpoint("GET", scopes=("audio",))
def progress(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /api/meetings/progress``: the caller's unfinished meetings, and the limits of the queue."""
    user = signed_in(request)
    active_meetings = list(_meetings(user).filter(job__state__in=Job.GOING))
    polishing = {
        str(job.spec.get("recording")): job
        for job in Job.objects.owned_by(user).filter(kind="polish", state__in=Job.GOING).order_by("created_at")
    }
    active_meetings += list(_meetings(user).filter(pk__in=polishing).exclude(job__state__in=Job.GOING))
    waiting = Job.objects.filter(state=Job.State.QUEUED).count()
    return JsonResponse(
        {
            "meetings": [_head(meeting) for meeting in active_meetings],
            "queue": {
                "waiting": waiting,
                "most_waiting": settings.JOBS_WAITING,
                "most_running": settings.JOBS_RUNNING,
                "most_running_per_user": settings.JOBS_RUNNING_PER_USER,
                "accepts": waiting < settings.JOBS_WAITING,
            },
        }
    )


def polish_when_transcribed(sender: object, *, job: Job, **more: Any) -> None:
    """Queue the clean-up after a transcription. Called in the job's transaction, which must not fail because of it."""
    if job.kind != "transcribe" or job.state != Job.State.DONE:
        return
    if job.spec.get("options", {}).get("session") != POLISHED_SESSION:
        return
    spec = {"recording": job.spec["recording"], "folder": job.spec["folder"]}
    try:
        jobs.submit(user=job.user, kind="polish", title=job.title, spec=spec, even_if_full=True)
    except HarkError:
        log.exception("the clean-up of meeting %s was not queued", job.spec["recording"])
