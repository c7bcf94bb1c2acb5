"""The inbox: what detectors were wrong about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from django.http import FileResponse, HttpRequest
from ninja import Query, Router, Status

from webui.access import to_change, visible
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.paging import Page, Paging, page
from webui.api.schemas import SampleOut
from webui.listening import services
from webui.listening.models import Sample

router = Router(tags=["Inbox"])


def _sample(request: HttpRequest, sample_id: int, who: Callable[..., Sample] = visible) -> Sample:
    return who(Sample.objects.select_related("user", "detector"), caller(request).user, id=sample_id)


@router.get("/inbox", response=Page[SampleOut], summary="The inbox", **needs("read"))
def inbox(
    request: HttpRequest,
    paging: Query[Paging],
    state: Literal["new", "taken"] | None = None,
    detector: int | None = Query(None, ge=1, le=2**62, examples=[1]),
) -> dict[str, Any]:
    """What was marked, newest first; of shared detectors what the caller has marked."""
    rows = Sample.objects.visible_to(caller(request).user)
    if state is not None:
        rows = rows.filter(state=state)
    if detector is not None:
        rows = rows.filter(detector_id=detector)
    return page(request, rows.order_by("-created_at", "-id"), paging)


@router.get("/inbox/{int:sample_id}", response=SampleOut, summary="A sample", **needs("read"))
def sample(request: HttpRequest, sample_id: int) -> Sample:
    """What a person said about it."""
    return _sample(request, sample_id)


@router.get(
    "/inbox/{int:sample_id}/audio", response=None, summary="Hear a sample", **needs("read", **file_of("audio/flac"))
)
def audio(request: HttpRequest, sample_id: int) -> FileResponse:
    """As a FLAC file."""
    return services.audio_response(_sample(request, sample_id))


@router.post("/inbox/{int:sample_id}/take", response=SampleOut, summary="Take a sample", **needs("audio"))
def take(
    request: HttpRequest,
    sample_id: int,
    phrase: bool | None = Query(None, description="Of what a device sent: whether it is the phrase.", examples=[True]),
) -> Sample:
    """Makes it a clip of the library, for the next training. Twice is once. What a device sent is
    confirmed with ``phrase``."""
    found = _sample(request, sample_id, to_change)
    if phrase is None or not found.kind:
        services.take(sample=found)
    else:
        services.confirm(sample=found, is_phrase=phrase)
    return _sample(request, sample_id)


@router.post("/inbox/confirm", response={204: None}, summary="Confirm what is sorted", **needs("audio"))
def confirm_sorted(request: HttpRequest) -> Status:
    """Takes all that devices sent and a recognizer is sure of, as it sorted them."""
    services.confirm_sorted(user=caller(request).user)
    return Status(204, None)


@router.delete("/inbox/{int:sample_id}", response={204: None}, summary="Discard a sample", **needs("audio"))
def discard(request: HttpRequest, sample_id: int) -> Status:
    """With its audio. A clip that it was taken as stays."""
    services.discard(sample=_sample(request, sample_id, to_change))
    return Status(204, None)
