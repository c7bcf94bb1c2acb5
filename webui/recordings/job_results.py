"""Results of recordings' jobs."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from core.errors import HarkError
from pipeline.recordings.files.recording_folder import TRANSCRIPT
from pipeline.recordings.transcripts.transcript import load_transcript
from webui.jobs.models import Job
from webui.jobs.quota import take_minutes
from webui.recordings.deletion import remove_leftovers
from webui.recordings.editing import history
from webui.recordings.editing.speaker_changes import speakers_detected
from webui.recordings.models import Recording
from webui.recordings.reading import search
from webui.recordings.sharing.minable import bring_library_up_to_date

log = logging.getLogger(__name__)


def transcribed(job: Job) -> None:
    result = job.result or {}
    recording = Recording.objects.select_related("user").filter(pk=job.spec["recording"]).first()
    if recording is None:
        return  # it has been deleted in the meantime
    try:
        transcript = load_transcript(recording.path / TRANSCRIPT)
    except HarkError:
        log.exception("recording %s has no transcript although its job is done", recording.pk)
        Recording.objects.filter(pk=recording.pk).update(state=Recording.State.FAILED)
        return
    recording.state = Recording.State.READY
    recording.duration_s, recording.language = result["duration_s"], result["language"][:20]
    recording.engine, recording.speakers = result["engine"][:200], result["speakers"]
    recording.channels, recording.words = result["channels"], result["words"]
    recording.version += 1
    recording.save(  # only these fields: a page may have changed others meanwhile
        update_fields=["state", "duration_s", "language", "engine", "speakers", "channels", "words", "version"]
    )
    history.forget_all(recording.path)
    take_minutes(recording.user, recording.duration_s, recording.speakers)
    search.index(recording, transcript)
    if recording.minable:
        bring_library_up_to_date(recording)


def job_has_ended(sender: object, job: Job, **more: Any) -> None:
    """Update a recording's state from an ended job, or remove the files of a deleted recording's job."""
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
        # The user may have changed the setting since the job began: follow the setting, not the job.
        if job.spec["minable"] != current.minable:
            bring_library_up_to_date(current, after=job)
