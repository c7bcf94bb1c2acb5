"""The use of a recording for training: its passages in the clip library."""

from __future__ import annotations

from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.recordings.reading.transcripts import transcript_of
from webui.recordings.transcribing.jobs import submit
from webui.transactions import serialized


def set_minable(*, recording: Recording, minable: bool) -> Job | None:
    """Allow or forbid the use of a recording for training; return the job that updates the clip library."""
    transcript_of(recording)
    with serialized():
        Recording.objects.filter(pk=recording.pk).update(minable=minable)
        recording.minable = minable
        return bring_library_up_to_date(recording)


def bring_library_up_to_date(recording: Recording, after: Job | None = None) -> Job | None:
    return submit(
        recording, "minable", even_if_full=True, minable=recording.minable, version=recording.version,
        after=str(after.pk) if after is not None else None,
    )  # fmt: skip
