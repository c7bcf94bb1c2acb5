"""Organizations: people, invitations, sharing, quota and use."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from webui.accounts.audit import entries_of_organization
from webui.api.authentication import caller, needs
from webui.api.idempotency import Made, creation
from webui.api.organization_schemas import (
    EntryOut,
    InvitationMadeOut,
    InvitationOut,
    JoinIn,
    MemberOut,
    OrganizationIn,
    OrganizationOut,
    QuotaIn,
    RoleIn,
    UseOut,
)
from webui.api.paging import Page, Paging, page
from webui.api.routes.recordings import a_recording
from webui.jobs.quota import Limits, usage_of
from webui.organization_management import services, use_of
from webui.organizations.models import Invitation, Membership, Organization
from webui.trainer.services import detector_of

router = Router(tags=["Organizations"])

ONE = "/organizations/{int:organization_id}"
MEMBER = ONE + "/members/{int:user_id}"


def _seen(request: HttpRequest) -> QuerySet[Organization]:
    """Return the organizations that the caller sees, with the number of people and the caller's role."""
    user = caller(request).user
    own = Membership.objects.filter(organization=OuterRef("pk"), user=user)
    return services.with_counts(services.seen_by(user)).annotate(role=Subquery(own.values("role")))


def _out(request: HttpRequest, organization: Organization) -> OrganizationOut:
    return OrganizationOut.from_orm(_seen(request).get(pk=organization.pk))


@router.get("/organizations", response=Page[OrganizationOut], summary="All organizations", **needs("read"))
def organizations(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List the caller's organizations. The owner of Hark sees all."""
    return page(request, _seen(request), paging)


@router.post("/organizations", response={201: OrganizationOut}, summary="Create an organization", **needs(person=True))
@creation()
def add(request: HttpRequest, payload: OrganizationIn) -> Made:
    """Create an organization, with the caller as its owner."""
    organization = services.create(user=caller(request).user, name=payload.name)
    return Made(_out(request, organization), f"/api/v1/organizations/{organization.pk}")


@router.post("/organizations/join", response=OrganizationOut, summary="Join an organization", **needs(person=True))
def join(request: HttpRequest, payload: JoinIn) -> OrganizationOut:
    """Join an organization, given the last part of an invitation's link.

    A link works once. Returns 410 if it no longer works.
    """
    return _out(request, services.join(user=caller(request).user, secret=payload.secret))


@router.get(ONE, response=OrganizationOut, summary="An organization", **needs("read"))
def organization(request: HttpRequest, organization_id: int) -> OrganizationOut:
    """Return the organization's name and quota, and the caller's role."""
    return _out(request, services.visible(caller(request).user, organization_id))


@router.patch(ONE, response=OrganizationOut, summary="Rename an organization", **needs(person=True))
def rename(request: HttpRequest, organization_id: int, payload: OrganizationIn) -> OrganizationOut:
    """Rename the organization. Only its owners may do this."""
    organization = services.owned(caller(request).user, organization_id)
    services.rename(organization=organization, name=payload.name)
    return _out(request, organization)


@router.delete(ONE, response={204: None}, summary="Delete an organization", **needs(person=True))
def delete(request: HttpRequest, organization_id: int) -> Status:
    """Delete the organization, but nothing that is shared with it.

    Its owners and the owner of Hark may do this.
    """
    services.delete(organization=services.administered(caller(request).user, organization_id))
    return Status(204, None)


# ---- people


@router.get(ONE + "/members", response=Page[MemberOut], summary="Members of an organization", **needs("read"))
def members(request: HttpRequest, organization_id: int, paging: Query[Paging]) -> dict[str, Any]:
    """List the members in the order in which they joined."""
    organization = services.visible(caller(request).user, organization_id)
    return page(request, organization.memberships.select_related("user"), paging)


@router.patch(MEMBER, response=MemberOut, summary="Change the role of a member", **needs(person=True))
def change(request: HttpRequest, organization_id: int, user_id: int, payload: RoleIn) -> Membership:
    """Make a person owner, member or viewer. One owner must remain.

    The organization's owners and the owner of Hark may do this.
    """
    membership = services.member(services.administered(caller(request).user, organization_id), user_id)
    services.set_role(membership=membership, role=payload.role)
    return membership


@router.delete(MEMBER, response={204: None}, summary="Remove a member, or leave", **needs(person=True))
def remove(request: HttpRequest, organization_id: int, user_id: int) -> Status:
    """Remove a person. What they shared becomes private again. Anyone can leave, except the last owner."""
    user = caller(request).user
    find = services.visible if user_id == user.pk else services.administered
    services.remove(membership=services.member(find(user, organization_id), user_id), by=user)
    return Status(204, None)


@router.get(ONE + "/invitations", response=Page[InvitationOut], summary="Open invitations", **needs("read"))
def invitations(request: HttpRequest, organization_id: int, paging: Query[Paging]) -> dict[str, Any]:
    """List open invitations, newest first. Only the organization's owners see them."""
    organization = services.owned(caller(request).user, organization_id)
    return page(request, services.open_invitations(organization), paging)


@router.post(
    ONE + "/invitations", response={201: InvitationMadeOut}, summary="Create an invitation", **needs(person=True)
)
@creation()
def invite(request: HttpRequest, organization_id: int, payload: RoleIn) -> Made:
    """Create a link with which one signed-in user can join within a week. Only the owners may do this."""
    user = caller(request).user
    invitation, link = services.invite(
        organization=services.owned(user, organization_id), by=user, role=payload.role,
        base_url=request.build_absolute_uri("/"),
    )  # fmt: skip
    shown = InvitationOut.from_orm(invitation).model_dump()
    return Made(InvitationMadeOut(**shown, link=link), f"/api/v1/organizations/{organization_id}/invitations")


@router.delete(
    ONE + "/invitations/{int:invitation_id}", response={204: None}, summary="Revoke an invitation", **needs(person=True)
)
def revoke(request: HttpRequest, organization_id: int, invitation_id: int) -> Status:
    """Revoke an invitation. Only the organization's owners may do this."""
    organization = services.owned(caller(request).user, organization_id)
    services.revoke_invitation(invitation=get_object_or_404(Invitation, pk=invitation_id, organization=organization))
    return Status(204, None)


# ---- sharing


@router.put(ONE + "/detectors/{int:detector_id}", response={204: None}, summary="Share a detector", **needs("train"))
def share_detector(request: HttpRequest, organization_id: int, detector_id: int) -> Status:
    """Share a detector, with all its versions, with an organization; one at a time.

    Only its user may do this, as a member or an owner of the organization.
    """
    return _share(request, organization_id, detector_of(caller(request).user, detector_id))


@router.delete(
    ONE + "/detectors/{int:detector_id}", response={204: None}, summary="Withdraw a detector", **needs("train")
)
def withdraw_detector(request: HttpRequest, organization_id: int, detector_id: int) -> Status:
    """Stop sharing a detector. Its user and the organization's owners may do this."""
    return _withdraw(request, organization_id, detector_of(caller(request).user, detector_id))


@router.put(
    ONE + "/recordings/{uuid:recording_id}", response={204: None}, summary="Share a recording", **needs("audio")
)
def share_recording(request: HttpRequest, organization_id: int, recording_id: UUID) -> Status:
    """Share a recording with an organization; one at a time.

    Only its user may do this, as a member or an owner of the organization.
    """
    return _share(request, organization_id, a_recording(request, recording_id))


@router.delete(
    ONE + "/recordings/{uuid:recording_id}", response={204: None}, summary="Withdraw a recording", **needs("audio")
)
def withdraw_recording(request: HttpRequest, organization_id: int, recording_id: UUID) -> Status:
    """Stop sharing a recording. Its user and the organization's owners may do this."""
    return _withdraw(request, organization_id, a_recording(request, recording_id))


def _share(request: HttpRequest, organization_id: int, thing: services.Thing) -> Status:
    user = caller(request).user
    services.share(thing=thing, organization=services.visible(user, organization_id), by=user)
    return Status(204, None)


def _withdraw(request: HttpRequest, organization_id: int, thing: services.Thing) -> Status:
    user = caller(request).user
    organization = services.visible(user, organization_id)
    if thing.organization == organization:
        services.share(thing=thing, organization=None, by=user)
    return Status(204, None)


# ---- quota and use


@router.put(ONE + "/quota", response=OrganizationOut, summary="Set the quota", **needs(person=True))
def quota(request: HttpRequest, organization_id: int, payload: QuotaIn) -> OrganizationOut:
    """Set the quota of all members together.

    The owner of Hark may do this, and the organization's owners if the owner of Hark has not set one.
    """
    user = caller(request).user
    organization = services.visible(user, organization_id)
    limits = Limits(payload.disk_bytes, payload.jobs_a_day, payload.minutes_a_month)
    services.set_quota(organization=organization, limits=limits, by=user)
    return _out(request, organization)


@router.get(ONE + "/use", response=UseOut, summary="Usage of an organization", **needs("read"))
def use(request: HttpRequest, organization_id: int) -> dict[str, Any]:
    """Return the usage in total, by week and by person.

    The organization's owners and the owner of Hark may read it.
    """
    organization = services.administered(caller(request).user, organization_id)
    used = usage_of(organization)
    return {
        "disk_bytes": round(used["disk_gb"] * 1e9),
        "jobs_today": used["jobs"],
        "minutes_this_month": used["minutes"],
        "weeks": use_of.by_week(organization),
    }


@router.get(ONE + "/log", response=Page[EntryOut], summary="The audit log", **needs("read"))
def log(request: HttpRequest, organization_id: int, paging: Query[Paging]) -> dict[str, Any]:
    """List the actions in the organization, newest first.

    Its owners and the owner of Hark may read them.
    """
    organization = services.administered(caller(request).user, organization_id)
    return page(request, entries_of_organization(organization.pk), paging)
