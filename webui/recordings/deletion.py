"""Deletion of recordings with everything made from them."""

from __future__ import annotations

import shutil

from core.data_folder import remove_deleted, rename_deleted, storing
from pipeline.recordings.library_clips import remove_from_library
from webui.accounts.audit import Action, record
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.transactions import serialized


def remove_leftovers(job: Job) -> None:
    remove_from_library(user_data(job.user), job.spec["recording"])
    folder = user_data(job.user) / job.spec["folder"]
    shutil.rmtree(folder, ignore_errors=True)
    jobs.forget(job)  # its title and log reveal the recording's content


def delete(*, recording: Recording) -> None:
    """Delete a recording with everything made from it.

    Raises HarkError if a file cannot be removed. The recording is still listed in that case; deleting it again, or the
    next start of the server, removes the rest.
    """
    about = Job.objects.filter(user=recording.user, spec__recording=str(recording.pk))
    for job in about:
        jobs.cancel(job=job)
    with storing("deleting the recording"):
        remove_from_library(user_data(recording.user), str(recording.pk))
        rename_deleted(recording.path)
        remove_deleted(recording.path.parent, str(recording.pk))
    with serialized():
        record(Action.RECORDING_DELETED, what=str(recording.pk), about=recording.user)
        recording.delete()
    for job in about.exclude(state__in=Job.GOING):  # active ones are deleted when they end
        remove_leftovers(job)
