"""Sharing a detector or a recording with an organization, and withdrawing it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from webui.accounts.signed_in import signed_in
from webui.audio.models import Recording
from webui.organizations import services
from webui.organizations.access import Things, visible
from webui.parameters import whole_number
from webui.trainer.models import Detector


@require_POST
def detector(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Share a detector with ``organization``; without one it is withdrawn."""
    return _share(request, Detector.objects.all(), detector_id, "trainer:detector", "trainer:home")


@require_POST
def recording(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Share a recording with ``organization``; without one it is withdrawn."""
    return _share(request, Recording.objects.all(), recording_id, "audio:recording", "audio:index")


def _share(request: HttpRequest, things: Things[Any], number: int | UUID, page: str, pages: str) -> HttpResponse:
    """Then on to its ``page``, or to all of them where who has withdrawn it sees it no more."""
    user = signed_in(request)
    thing = visible(things.select_related("user", "organization"), user, pk=number)
    chosen = request.POST.get("organization", "")
    organization = services.visible(user, whole_number(chosen) or 0) if chosen else None
    services.share(thing=thing, organization=organization, by=user)
    if organization is None:
        messages.success(request, _("It is shared with no organization."))
    else:
        messages.success(request, _("It is shared with %(name)s.") % {"name": organization.name})
    return redirect(page, number) if things.visible_to(user).filter(pk=number).exists() else redirect(pages)
