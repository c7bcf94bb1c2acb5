"""Pages of organizations and invitations, and sharing."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import HarkError
from webui.accounts.audit import Action, entries_of_organization, record
from webui.accounts.signed_in import signed_in
from webui.http.parameters import INVALID, page_asked_for, whole_number
from webui.jobs.forms import QuotaForm
from webui.jobs.quota import usage_of
from webui.keys.sealing import show_next, shown_now
from webui.organization_management import services, use_of
from webui.organization_management.forms import InvitationForm, NameForm, SharedForm
from webui.organizations.access import membership_of
from webui.organizations.models import Invitation, Membership, Role
from webui.recordings.models import Recording
from webui.recordings.reading.page import recording_of
from webui.trainer.models import Detector
from webui.trainer.services import detector_of

PAGE = 50
LINK = "invitation to"


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """List the user's organizations, or all for the owner of the installation; POST creates one."""
    user = signed_in(request)
    form = NameForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            organization = services.create(user=user, name=form.cleaned_data["name"])
            return redirect("organizations:organization", organization.pk)
        except HarkError as error:
            form.add_error("name", error.why)
    roles = dict(user.memberships.values_list("organization", "role"))
    seen = services.with_counts(services.seen_by(user))
    rows = [(each, Role(roles[each.pk]).label if each.pk in roles else "") for each in seen]
    content = {"rows": rows, "form": form}
    return render(request, "organizations/index.html", content, status=INVALID if form.errors else 200)


@require_safe
def organization(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Show members and what they share and, to owners, invitations, quota and settings."""
    return _page(request, organization_id)


def _page(request: HttpRequest, organization_id: int, status: int = 200, **more: Any) -> HttpResponse:
    user = signed_in(request)
    shown = services.visible(user, organization_id)
    membership = membership_of(user, shown)
    manages = membership is not None and membership.manages
    of_it = {"organization": shown}
    content = {
        "organization": shown,
        "membership": membership,
        "manages": manages,
        "administers": services.administers(user, shown),
        "people": shown.memberships.select_related("user"),
        "roles": Role.choices,
        # Only objects that the reader may see: the owner of the installation sees only those shared with them.
        "detectors": Detector.objects.visible_to(user).filter(**of_it).select_related("user"),
        "recordings": Recording.objects.visible_to(user).filter(**of_it).select_related("user"),
        "invitations": services.open_invitations(shown).select_related("invited_by") if manages else [],
        "made": shown_now(request, f"{LINK} {shown.pk}"),
        "name": NameForm(initial={"name": shown.name}),
        "invitation": InvitationForm(),
        "may_set_quota": services.may_set_quota(user, shown),
        "quota": QuotaForm(shown),
        "kept": SharedForm(initial={"recordings_days": shown.recordings_days}),
        "usage": usage_of(shown) if services.administers(user, shown) else None,
        **more,
    }
    return render(request, "organizations/organization.html", content, status=status)


@require_POST
def rename(request: HttpRequest, organization_id: int) -> HttpResponse:
    organization = services.owned(signed_in(request), organization_id)
    form = NameForm(request.POST)
    if form.is_valid():
        try:
            services.rename(organization=organization, name=form.cleaned_data["name"])
            messages.success(request, _("Saved."))
            return redirect("organizations:organization", organization_id)
        except HarkError as error:
            form.add_error("name", error.why)
    return _page(request, organization_id, INVALID, name=form)


@require_POST
def delete(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Delete the organization; the form repeats its name to prevent slips."""
    organization = services.administered(signed_in(request), organization_id)
    if request.POST.get("name", "").strip() != organization.name:
        raise HarkError(
            _("The organization was not deleted."),
            _("The name you typed is not %(name)s.") % {"name": organization.name},
            _("Go back and type its name."),
        )
    services.delete(organization=organization)
    messages.success(request, _("The organization %(name)s was deleted.") % {"name": organization.name})
    return redirect("organizations:index")


# ---- people


@require_POST
def invite(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Create an invitation. The page shows its link once."""
    organization = services.owned(signed_in(request), organization_id)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, organization_id, INVALID, invitation=form)
    address = request.build_absolute_uri("/")
    _invitation, link = services.invite(
        organization=organization, by=signed_in(request), role=form.cleaned_data["role"], base_url=address
    )
    show_next(request, f"{LINK} {organization.pk}", {"link": link})
    return redirect("organizations:organization", organization_id)


@require_POST
def revoke(request: HttpRequest, organization_id: int, invitation_id: int) -> HttpResponse:
    organization = services.owned(signed_in(request), organization_id)
    services.revoke_invitation(invitation=get_object_or_404(Invitation, pk=invitation_id, organization=organization))
    messages.success(request, _("The invitation no longer works."))
    return redirect("organizations:organization", organization_id)


@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, secret: str) -> HttpResponse:
    """Show an invitation; POST joins."""
    invitation = services.find_invitation(secret=secret)
    if request.method == "POST":
        joined = services.join(user=signed_in(request), secret=secret)
        messages.success(request, _("You are now in %(name)s.") % {"name": joined.name})
        return redirect("organizations:organization", joined.pk)
    response = render(request, "organizations/join.html", {"invitation": invitation})
    response["Referrer-Policy"] = "no-referrer"
    return response


@require_POST
def role(request: HttpRequest, organization_id: int, user_id: int) -> HttpResponse:
    services.set_role(membership=_person(request, organization_id, user_id), role=request.POST.get("role", ""))
    messages.success(request, _("Saved."))
    return redirect("organizations:organization", organization_id)


@require_POST
def remove(request: HttpRequest, organization_id: int, user_id: int) -> HttpResponse:
    """Remove a person. Objects that they shared become private again."""
    membership = _person(request, organization_id, user_id)
    services.remove(membership=membership, by=signed_in(request))
    sentence = _("%(name)s was removed; what they have shared is private again.")
    messages.success(request, sentence % {"name": membership.user.username})
    if membership.user == signed_in(request):
        return redirect("organizations:index")
    return redirect("organizations:organization", organization_id)


def _person(request: HttpRequest, organization_id: int, user_id: int) -> Membership:
    return services.member(services.administered(signed_in(request), organization_id), user_id)


@require_POST
def leave(request: HttpRequest, organization_id: int) -> HttpResponse:
    user = signed_in(request)
    membership = services.member(services.visible(user, organization_id), user.pk)
    services.remove(membership=membership, by=user)
    messages.success(request, _("You have left %(name)s.") % {"name": membership.organization.name})
    return redirect("organizations:index")


# ---- for its owners


@require_POST
def quota(request: HttpRequest, organization_id: int) -> HttpResponse:
    user = signed_in(request)
    organization = services.visible(user, organization_id)
    form = QuotaForm(None, request.POST)
    if not form.is_valid():
        return _page(request, organization_id, INVALID, quota=form)
    services.set_quota(organization=organization, limits=form.limits, by=user)
    messages.success(request, _("Saved."))
    return redirect("organizations:organization", organization_id)


@require_POST
def retention(request: HttpRequest, organization_id: int) -> HttpResponse:
    organization = services.owned(signed_in(request), organization_id)
    form = SharedForm(request.POST)
    if not form.is_valid():
        return _page(request, organization_id, INVALID, kept=form)
    services.set_retention(organization=organization, **form.cleaned_data)
    messages.success(request, _("Saved."))
    return redirect("organizations:organization", organization_id)


@require_safe
def log(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Show the audit log of the organization, without IP addresses."""
    organization = services.administered(signed_in(request), organization_id)
    page = page_asked_for(request, entries_of_organization(organization.pk), PAGE)
    return render(request, "organizations/log.html", {"organization": organization, "page": page})


@require_safe
def use(request: HttpRequest, organization_id: int) -> HttpResponse:
    organization = services.administered(signed_in(request), organization_id)
    content = {"organization": organization, "weeks": use_of.by_week(organization), "most": use_of.WEEKS}
    return render(request, "organizations/use.html", content)


@require_safe
def export(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Download the organization's data as JSON. Shared objects are in the exports of their users."""
    organization = services.owned(signed_in(request), organization_id)
    rows = use_of.rows_of(organization)
    record(Action.ORGANIZATION_EXPORTED, what=organization.name, organization=organization.pk)
    content = json.dumps(rows, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)
    response = HttpResponse(content, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="organization-{organization.pk}.json"'
    return response


# ---- sharing


@require_POST
def share_detector(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Share a detector with ``organization``; without one, withdraw it."""
    thing = detector_of(signed_in(request), detector_id)
    return _share(request, thing, "trainer:detector", "home")


@require_POST
def share_recording(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    return _share(request, recording_of(request, recording_id), "recordings:recording", "recordings:index")


def _share(request: HttpRequest, thing: services.Thing, page: str, pages: str) -> HttpResponse:
    """Share or withdraw an object, then show its page, or the list if it is no longer visible."""
    user = signed_in(request)
    chosen = request.POST.get("organization", "")
    organization = services.visible(user, whole_number(chosen) or 0) if chosen else None
    services.share(thing=thing, organization=organization, by=user)
    if organization is None:
        messages.success(request, _("It is not shared with an organization."))
    else:
        messages.success(request, _("It is shared with %(name)s.") % {"name": organization.name})
    gone = organization is None and thing.user_id != user.pk
    return redirect(pages) if gone else redirect(page, thing.pk)
