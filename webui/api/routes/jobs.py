"""Jobs: train, follow, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router

from core.errors import HarkError
from db.records import Clip
from pipeline.training.configuration.run_config import RunConfig
from webui.accounts.models import User
from webui.api.authentication import caller, missing_scope, needs
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.schemas import ClipOut, EventsOut, JobOut, JobState, TrainIn, VersionPlace
from webui.http.errors import StatusError
from webui.jobs import services
from webui.jobs.models import Job, JobEvent
from webui.organizations.access import owned, to_change, visible
from webui.speech import free_engines
from webui.trainer import services as trainer

router = Router(tags=["Jobs"])

MAX_EVENTS = 500
SAMPLES = 12
OF_SCOPE_TRAIN = ("train", "retrain", "compare", "plan")  # all others need the scope audio


def job_fields(job: Job, reader: User) -> dict[str, Any]:
    """Return a job's fields as the reader may see them.

    Only its own user sees quotas, and expected words, which come from other recordings.
    """
    version = getattr(job, "version", None)
    hidden = {"choices"} if job.user_id == reader.pk else {"choices", "words", "most_s", "owner"}
    spec = {**job.spec.get("choices", {}), **job.spec}
    return {
        **job.snapshot(),
        "spec": {name: value for name, value in spec.items() if name not in hidden},
        "result": None if version is None else VersionPlace(detector=version.detector_id, version=version.number),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def job_out(job: Job, reader: User) -> JobOut:
    return JobOut(**job_fields(job, reader))


def a_job(user: User, job_id: UUID, who: Callable[..., Job] = visible) -> Job:
    """Return a job to which the user has the access that ``who`` checks. Raises Http404 if it is not visible."""
    return who(Job.objects.select_related("version"), user, id=job_id)


def configuration(user: User, chosen: dict[str, Any]) -> RunConfig:
    """Return the configuration of a requested run. Raises HarkError if the phrase or an engine is unusable."""
    if engines := chosen.get("engines"):
        free = free_engines(chosen["language"], user)
        unknown = [engine for engine in engines if engine not in free]
        if unknown:
            raise HarkError(
                _("The engine %(name)s cannot be used.") % {"name": unknown[0][:40]},
                _("It is unknown, not ready, costs money, or has no voice for the language."),
                _("Choose from these, or leave it out: %(names)s.") % {"names": ", ".join(free)},
            )
    return trainer.configuration(**chosen)


@router.post("/jobs", response={201: JobOut}, summary="Train a detector", **needs("train"))
@creation()
def train(request: HttpRequest, payload: TrainIn) -> Made:
    """Queue a training run of a phrase or a plan. If the same run is waiting or running, return that job.

    Once the job is done, its ``result`` names the detector.
    """
    user = caller(request).user
    if (payload.plan is None) == (payload.phrase is None):
        raise HarkError(
            _("It is not clear what to train."),
            _("The request must have either a phrase or a plan."),
            _("Send one of them; /api/docs shows examples."),
        )
    if payload.plan is not None:
        if payload.model_fields_set - {"install_voices"} != {"plan"}:
            raise HarkError(
                _("It is not clear what to train."),
                _("A plan already contains all choices."),
                _("Send the plan alone, or the choices without it."),
            )
        chosen = owned(Job.objects.all(), user, id=payload.plan, kind="plan").spec["choices"]
    else:
        chosen = payload.model_dump(exclude={"plan", "install_voices"})
    job = trainer.train(user=user, config=configuration(user, chosen), install_voices=payload.install_voices)
    return Made(job_out(job, user), f"/api/v1/jobs/{job.id}")


@router.get("/jobs", response=Page[JobOut], summary="All jobs", **needs("read"))
def jobs(
    request: HttpRequest,
    paging: Query[Paging],
    state: JobState | None = None,
    kind: str | None = Query(None, max_length=40, examples=["train"]),
) -> dict[str, Any]:
    """List jobs, newest first."""
    seen = Job.objects.visible_to(caller(request).user).select_related("version")
    if state is not None:
        seen = seen.filter(state=state)
    if kind is not None:
        seen = seen.filter(kind=kind)
    listing = page(request, seen.order_by("-created_at", "id"), paging)
    return {**listing, "items": [job_out(job, caller(request).user) for job in listing["items"]]}


@router.get("/jobs/{uuid:job_id}", response=JobOut, summary="A job", **needs("read"))
def job(request: HttpRequest, job_id: UUID) -> JobOut:
    """Return the job's state and progress."""
    reader = caller(request).user
    return job_out(a_job(reader, job_id), reader)


@router.get("/jobs/{uuid:job_id}/events", response=EventsOut, summary="Events of a job", **needs("read"))
def events(
    request: HttpRequest,
    job_id: UUID,
    after: int = Query(0, ge=0, le=2**62, description="The last number that you already have.", examples=[0]),
    limit: int = Query(MAX_EVENTS, ge=1, le=MAX_EVENTS, examples=[MAX_EVENTS]),
) -> EventsOut:
    """Return the job's state and the events after a number. Poll every second, or use ``/ws/jobs/{id}``."""
    job = a_job(caller(request).user, job_id)
    rows = list(JobEvent.objects.filter(job=job, id__gt=after).order_by("id")[: limit + 1])
    shown = rows[:limit]
    return EventsOut(
        job=job_out(job, caller(request).user),
        events=[_event(row.event) for row in shown],
        last=shown[-1].pk if shown else after,
        more=len(rows) > limit,
    )


def _event(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without the folder of its path on the server."""
    return {**event, "path": Path(str(event["path"])).name} if "path" in event else event


@router.post("/jobs/{uuid:job_id}/cancel", response=JobOut, summary="Cancel a job", **needs("train", "audio"))
def cancel(request: HttpRequest, job_id: UUID) -> JobOut:
    """Cancel a job: a waiting one immediately, a running one within seconds. An ended job does not change."""
    services.cancel(job=_to_change(request, job_id))
    return job(request, job_id)


@router.post("/jobs/{uuid:job_id}/retry", response=JobOut, summary="Retry a job", **needs("train", "audio"))
def retry(request: HttpRequest, job_id: UUID) -> JobOut:
    """Queue a cancelled, failed or interrupted job again. It continues where it stopped."""
    row = _to_change(request, job_id)
    if not row.can_be_retried:
        raise StatusError(
            409,
            _("The job cannot be retried."),
            _("It is %(state)s; only a cancelled, failed or interrupted job can be retried.") % {"state": row.state},
            _("Check its state first."),
        )
    services.retry(job=row)
    return job(request, job_id)


@router.get("/jobs/{uuid:job_id}/clips", response=list[ClipOut], summary="Clips of a run", **needs("read"))
def clips(request: HttpRequest, job_id: UUID) -> list[Clip]:
    """List the newest clips that a training run has synthesized so far, for listening."""
    job = a_job(caller(request).user, job_id, owned)
    return trainer.clips_of_run(job, SAMPLES)


def _to_change(request: HttpRequest, job_id: UUID) -> Job:
    allowed = caller(request)
    job = a_job(allowed.user, job_id, to_change)
    scope = "train" if job.kind in OF_SCOPE_TRAIN else "audio"
    if scope not in allowed.scopes:
        raise missing_scope(scope)
    return job
