"""Sharing a detector or a recording with an organization, and withdrawing it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from webui.accounts.signed_in import signed_in
from webui.audio.models import Recording
from webui.organizations import services
from webui.organizations.access import visible
from webui.parameters import whole_number
from webui.trainer.services import detector_of


@require_POST
def detector(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Share a detector with ``organization``; without one it is withdrawn."""
    thing = detector_of(signed_in(request), detector_id)
    return _share(request, thing, "trainer:detector", "trainer:home")


@require_POST
def recording(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Share a recording with ``organization``; without one it is withdrawn."""
    thing = visible(Recording.objects.select_related("user", "organization"), signed_in(request), id=recording_id)
    return _share(request, thing, "audio:recording", "audio:index")


def _share(request: HttpRequest, thing: services.Thing, page: str, pages: str) -> HttpResponse:
    """Then on to its page; to the page of all where it was somebody else's, and is withdrawn."""
    user = signed_in(request)
    chosen = request.POST.get("organization", "")
    organization = services.visible(user, whole_number(chosen) or 0) if chosen else None
    services.share(thing=thing, organization=organization, by=user)
    if organization is None:
        messages.success(request, _("It is shared with no organization."))
    else:
        messages.success(request, _("It is shared with %(name)s.") % {"name": organization.name})
    gone = organization is None and thing.user_id != user.pk
    return redirect(pages) if gone else redirect(page, thing.pk)
