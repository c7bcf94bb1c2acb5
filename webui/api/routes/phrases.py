"""Before training: advice on a phrase, the speech engines, a spoken example, a plan."""

from __future__ import annotations

import io
from uuid import UUID

from django.http import FileResponse, HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router

from pipeline.training.configuration.advice import advise
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.idempotency import Made, creation
from webui.api.routes.jobs import configuration, job_fields
from webui.api.schemas import AdviceOut, EngineOut, PlanOut, RunIn
from webui.jobs.models import Job
from webui.organizations.access import owned
from webui.speech import all_engines, speak
from webui.trainer import services

router = Router(tags=["Phrases and plans"])

MAX_SPOKEN_LENGTH = 200  # maximum letters of a spoken example


@router.get("/advice", response=AdviceOut, summary="Advice on a phrase", **needs("read"))
def advice(
    request: HttpRequest,
    phrase: str = Query(..., max_length=300, examples=["hey compass"]),
    language: str = Query("en", max_length=20, examples=["en"]),
) -> AdviceOut:
    """Check whether a phrase is too short, too common or too similar to others. Takes milliseconds."""
    return AdviceOut.model_validate(advise(phrase, language).as_dict())


@router.get("/engines", response=list[EngineOut], summary="Speech engines", **needs("read"))
def engines(request: HttpRequest, language: str = Query("en", max_length=20, examples=["en"])) -> list[EngineOut]:
    """List all engines. Only the owner sees how to enable one, since that may name folders."""
    tells = caller(request).user.is_owner
    return [
        EngineOut(
            name=engine.name,
            ready=readiness.ok,
            why=readiness.why if tells or readiness.ok else _("It is not set up on this server."),
            how_to_enable=readiness.how_to_enable if tells or readiness.ok else _("Ask the owner of the installation."),
            licence=engine.licence,
            paid=engine.paid,
            voices=len(voices),
        )
        for engine, readiness, voices in all_engines(language)
    ]


@router.get("/speech", response=None, summary="Play a voice", **needs("train", **file_of("audio/wav")))
def speech(
    request: HttpRequest,
    engine: str = Query(..., max_length=40, examples=["espeak"]),
    voice: str = Query(..., max_length=100, examples=["gmw/en-US"]),
    text: str = Query(..., min_length=1, max_length=MAX_SPOKEN_LENGTH, examples=["hey compass"]),
    language: str = Query("en", max_length=20, examples=["en"]),
) -> FileResponse:
    """Synthesize a text as a WAV file, except with engines that cost money."""
    return FileResponse(
        io.BytesIO(speak(user=caller(request).user, engine=engine, voice=voice, text=text, language=language)),
        content_type="audio/wav",
    )


@router.post("/plans", response={201: PlanOut}, summary="Create a plan", **needs("train"))
@creation()
def add_plan(request: HttpRequest, payload: RunIn) -> Made:
    """Plan a training run without training: what it would reuse, synthesize and cost.

    The job takes seconds; poll the plan.
    """
    job = services.plan(user=caller(request).user, config=configuration(caller(request).user, payload.model_dump()))
    return Made(_plan(job), f"/api/v1/plans/{job.id}")


@router.get("/plans/{uuid:plan_id}", response=PlanOut, summary="A plan", **needs("read"))
def plan(request: HttpRequest, plan_id: UUID) -> PlanOut:
    """Return the plan or, until it is done, the job that makes it."""
    return _plan(owned(Job.objects.all(), caller(request).user, id=plan_id, kind="plan"))


def _plan(job: Job) -> PlanOut:
    return PlanOut(**job_fields(job, job.user), plan=job.result)
