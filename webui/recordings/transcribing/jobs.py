"""Jobs on a recording."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from webui.http.errors import StatusError
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording


def submit_alone(recording: Recording, kind: str, refusal: str, **more: str | int | None) -> Job:
    """Queue a job on a recording. Raises StatusError (409) with the text ``refusal`` if one of its kind is active."""
    newest = newest_job(recording, kind)
    if newest is not None and newest.is_going:
        raise StatusError(
            409, refusal, _("Only one job can change a recording at a time."), _("Wait, or cancel the job.")
        )
    return submit(recording, kind, False, **more)


def submit(recording: Recording, kind: str, even_if_full: bool = False, **more: Any) -> Job:
    """Queue a job on a recording; ``more`` are further entries of its spec."""
    return jobs.submit(
        user=recording.user, kind=kind, title=recording.name, even_if_full=even_if_full,
        spec={"recording": str(recording.pk), "folder": recording.folder, **more},
        organization=recording.organization_id,
    )  # fmt: skip


def newest_jobs(recording: Recording, *kinds: str) -> dict[str, Job]:
    about = Job.objects.filter(user_id=recording.user_id, kind__in=kinds, spec__recording=str(recording.pk))
    return {job.kind: job for job in about.order_by("created_at")}


def newest_job(recording: Recording, kind: str) -> Job | None:
    return newest_jobs(recording, kind).get(kind)
