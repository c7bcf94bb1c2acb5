"""The inbox: audio of detection errors, and clips that devices sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from django.http import FileResponse, HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Status

from core.errors import HarkError
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.paging import Page, Paging, page
from webui.api.schemas import SampleOut
from webui.listening import services
from webui.listening.models import Sample
from webui.organizations.access import to_change, visible

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
    """List samples, newest first. Of a shared detector, you see only the samples that you marked."""
    rows = Sample.objects.visible_to(caller(request).user)
    if state is not None:
        rows = rows.filter(state=state)
    if detector is not None:
        rows = rows.filter(detector_id=detector)
    return page(request, rows.order_by("-created_at", "-id"), paging)


@router.get("/inbox/{int:sample_id}", response=SampleOut, summary="A sample", **needs("read"))
def sample(request: HttpRequest, sample_id: int) -> Sample:
    """Return a sample with its verdict."""
    return _sample(request, sample_id)


@router.get(
    "/inbox/{int:sample_id}/audio", response=None, summary="Play a sample", **needs("read", **file_of("audio/flac"))
)
def audio(request: HttpRequest, sample_id: int) -> FileResponse:
    """Return the sample's audio as a FLAC file."""
    return services.audio_response(_sample(request, sample_id))


@router.post("/inbox/{int:sample_id}/take", response=SampleOut, summary="Add a sample to the library", **needs("audio"))
def take(
    request: HttpRequest,
    sample_id: int,
    phrase: bool | None = Query(
        None, description="For a recording from a device: whether it is the phrase.", examples=[True]
    ),
) -> Sample:
    """Make the sample a clip of the library, for the next training run.

    ``phrase`` confirms a recording from a device.
    """
    sample = _sample(request, sample_id, to_change)
    if phrase is None:
        services.take(sample=sample)
    elif not sample.kind:
        raise HarkError(
            _("phrase has no effect on this sample."),
            _("Its verdict was given when it was marked."),
            _("Leave phrase out, or discard the sample and mark it again."),
        )
    else:
        services.confirm(sample=sample, is_phrase=phrase)
    return _sample(request, sample_id)


@router.post("/inbox/confirm", response={204: None}, summary="Confirm the sorted recordings", **needs("audio"))
def confirm_sorted(request: HttpRequest) -> Status:
    """Confirm all recordings from devices about which a recognizer is sure, with its verdict."""
    services.confirm_sorted(user=caller(request).user)
    return Status(204, None)


@router.delete("/inbox/{int:sample_id}", response={204: None}, summary="Discard a sample", **needs("audio"))
def discard(request: HttpRequest, sample_id: int) -> Status:
    """Delete the sample with its audio. A clip made from it stays in the library."""
    services.discard(sample=_sample(request, sample_id, to_change))
    return Status(204, None)
