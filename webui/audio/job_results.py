"""Results of a recording's jobs."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from core.errors import HarkError
from pipeline.recordings.recording_folder import TRANSCRIPT
from pipeline.recordings.transcript import load_transcript
from webui.audio import history, search
from webui.audio.intake import remove_leftovers
from webui.audio.models import Recording
from webui.audio.sharing import bring_library_up_to_date
from webui.audio.speaker_changes import speakers_detected
from webui.jobs.models import Job
from webui.jobs.quota import take_minutes

log = logging.getLogger(__name__)


def transcribed(job: Job) -> None:
    recording = Recording.objects.select_related("user").filter(pk=job.spec["recording"]).first()
    if recording is None:
        return  # deleted meanwhile
    try:
        transcript = load_transcript(recording.path / TRANSCRIPT)
    except HarkError:
        log.exception("recording %s has no transcript although its job is done", recording.pk)
        Recording.objects.filter(pk=recording.pk).update(state=Recording.State.FAILED)
        return
    recording.state = Recording.State.READY
    recording.duration_s, recording.language = transcript.duration_s, transcript.language[:20]
    recording.engine, recording.speakers = transcript.engine[:200], len(transcript.speakers)
    recording.channels, recording.words = job.result["channels"], job.result["words"]
    recording.version += 1
    recording.save()
    history.forget_all(recording.path)
    take_minutes(recording.user, transcript.duration_s, len(transcript.speakers))
    search.index(recording, transcript)
    if recording.minable:
        bring_library_up_to_date(recording)


def job_has_ended(sender: object, job: Job, **more: Any) -> None:
    """Update the recording's state from an ended job, or remove what a job of a deleted recording wrote."""
    if "recording" not in job.spec:
        return
    recording = Recording.objects.filter(pk=job.spec["recording"])
    if not recording.exists():
        transaction.on_commit(lambda: remove_leftovers(job))
    elif job.kind == "transcribe" and job.state == Job.State.DONE:
        transcribed(job)
    elif job.kind == "transcribe":
        recording.update(state=Recording.State.FAILED)
    elif job.kind == "speakers" and job.state == Job.State.DONE:
        speakers_detected(recording.select_related("user", "job").get(), job.result or {})
    elif job.kind == "minable":
        current = recording.select_related("user").get()
        if job.spec["minable"] != current.minable:  # switched meanwhile; the last job to end must not decide
            bring_library_up_to_date(current, after=job)
