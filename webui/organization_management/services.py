"""Changes of organizations: people, sharing, quota, deletion."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, astuple
from datetime import timedelta
from typing import cast

from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.services import LINK_LIFE, LinkGone, digest
from webui.http.errors import StatusError
from webui.jobs.models import Job
from webui.jobs.quota import Limits
from webui.organizations.access import READING, membership_of, not_yours, organizations_of, to_share_with
from webui.organizations.models import Invitation, Membership, Organization, Role
from webui.recordings.models import Recording
from webui.trainer.models import Detector
from webui.transactions import serialized

MAX_NAME_LENGTH = 100
MAX_PER_USER = 20  # organizations per user
MAX_OPEN_INVITATIONS = 50  # open invitations per organization

Thing = Detector | Recording


# ---- organizations, and rights in them


def of_user(user: User) -> QuerySet[Organization]:
    return Organization.objects.filter(pk__in=organizations_of(user, READING))


def seen_by(user: User) -> QuerySet[Organization]:
    """Return the organizations whose page the user sees: their own, or all for the owner of the installation."""
    return Organization.objects.all() if user.is_owner else of_user(user)


def visible(user: User, number: int) -> Organization:
    """Return an organization. Raises Http404 if the user does not see it."""
    return get_object_or_404(seen_by(user), pk=number)


def member(organization: Organization, user_id: int) -> Membership:
    """Return a person's membership. Raises Http404 if they are not in the organization."""
    people = Membership.objects.select_related("user", "organization")
    return get_object_or_404(people, organization=organization, user__id=user_id)


def manages(user: User, organization: Organization) -> bool:
    return Membership.objects.filter(organization=organization, user=user, role=Role.OWNER).exists()


def administers(user: User, organization: Organization) -> bool:
    """Return whether the user may change roles, remove people and delete the organization.

    Its owners and the owner of the installation may.
    """
    return user.is_owner or manages(user, organization)


def owned(user: User, number: int, may: Callable[[User, Organization], bool] = manages) -> Organization:
    """Return an organization that the user owns.

    Raises Http404 if the user does not see it, and StatusError (403) if they are not an owner.
    """
    organization = visible(user, number)
    if not may(user, organization):
        raise StatusError(
            403,
            _("Only an owner of the organization can do that."),
            _("You are a member or a viewer of it, or not in it at all."),
            _("Ask one of its owners; its page names them."),
        )
    return organization


def administered(user: User, number: int) -> Organization:
    """Return an organization as :func:`owned` does. The owner of the installation may administer any."""
    return owned(user, number, administers)


def create(*, user: User, name: str) -> Organization:
    """Create an organization owned by the user. Raises HarkError if the name is invalid, or the user is in too many."""
    name = _checked_name(name)
    with serialized():
        _check_number(user)
        organization = Organization(name=name)
        _check_free(organization)
        organization.save()
        Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
        record(Action.ORGANIZATION_MADE, what=name, about=user, organization=organization.pk)
    return organization


def rename(*, organization: Organization, name: str) -> None:
    """Rename an organization. Raises HarkError if the name is invalid."""
    name = _checked_name(name)
    with serialized():
        current = Organization.objects.filter(pk=organization.pk).first()
        if current is not None and current.name != name:
            before, current.name = current.name, name
            _check_free(current)
            current.save(update_fields=["name"])
            record(Action.ORGANIZATION_RENAMED, what=f"{before} -> {name}", organization=current.pk)
    organization.name = name


def _check_free(organization: Organization) -> None:
    """Raise HarkError if another organization has the name; MariaDB and MySQL do not enforce this."""
    try:
        organization.validate_constraints()
    except ValidationError as error:
        raise HarkError(
            _("The organization cannot have that name."), _("The name is taken."), _("Choose another name.")
        ) from error


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME_LENGTH or any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise HarkError(
            _("The organization cannot have that name."),
            _("A name must have 1 to %(most)d characters, without control characters.") % {"most": MAX_NAME_LENGTH},
            _("Choose another name."),
        )
    return name


def _check_number(user: User) -> None:
    if Membership.objects.filter(user=user).count() >= MAX_PER_USER:
        raise HarkError(
            _("You are in too many organizations."),
            _("A user can be in %(most)d.") % {"most": MAX_PER_USER},
            _("Leave one of them first."),
        )


def delete(*, organization: Organization) -> None:
    """Delete an organization. Objects shared with it are not deleted, but become private to their users again."""
    with serialized():
        record(Action.ORGANIZATION_DELETED, what=organization.name, organization=organization.pk)
        organization.delete()


# ---- people


def invite(*, organization: Organization, by: User, role: str, base_url: str) -> tuple[Invitation, str]:
    """Create an invitation; return it and its link, which is shown only now and works once, within a week.

    Raises HarkError if the role is unknown, or too many are open.
    """
    if role not in Role.values:
        raise _no_role()
    secret = secrets.token_urlsafe(30)
    with serialized():
        if open_invitations(organization).count() >= MAX_OPEN_INVITATIONS:
            raise HarkError(
                _("The invitation was not created."),
                _("%(most)d invitations are open.") % {"most": MAX_OPEN_INVITATIONS},
                _("Revoke some of them first."),
            )
        invitation = Invitation.objects.create(
            organization=organization, role=role, invited_by=by, digest=digest(secret),
            expires_at=timezone.now() + LINK_LIFE,
        )  # fmt: skip
        record(Action.INVITED, what=f"{organization.name}: {role}", organization=organization.pk)
    return invitation, base_url.rstrip("/") + reverse("organizations:join", args=[secret])


def _no_role() -> HarkError:
    return HarkError(
        _("There is no such role."), _("The roles are %(roles)s.") % {"roles": ", ".join(Role.values)},
        _("Choose one of them."),
    )  # fmt: skip


def open_invitations(organization: Organization) -> QuerySet[Invitation]:
    """Return the invitations that still work: unused, recent, and made by a current owner."""
    return _working().filter(organization=organization)


def _working() -> QuerySet[Invitation]:
    of_owner = Membership.objects.filter(
        organization=OuterRef("organization"), user=OuterRef("invited_by"), role=Role.OWNER, user__is_active=True
    )
    return Invitation.objects.filter(Exists(of_owner), used_at=None, expires_at__gt=timezone.now())


def find_invitation(*, secret: str) -> Invitation:
    """Return the invitation of a link. Raises LinkGone if it does not work."""
    invitation = _working().select_related("organization", "invited_by").filter(digest=digest(secret)).first()
    if invitation is None:
        raise LinkGone(
            _("This invitation no longer works."),
            _("It was used or revoked, expired after a week, or is incomplete."),
            _("Ask an owner of the organization for a new one."),
        )
    return invitation


def join(*, user: User, secret: str) -> Organization:
    """Add a user to an invitation's organization.

    Raises LinkGone if the link does not work, and HarkError if the user is already in it or in too many.
    """
    with serialized():
        invitation = find_invitation(secret=secret)
        organization = invitation.organization
        if membership_of(user, organization) is not None:
            raise HarkError(
                _("You are already in this organization."),
                _("The invitation is for somebody else and still works."),
                _("Send it to that person."),
            )
        _check_number(user)
        Invitation.objects.filter(pk=invitation.pk).update(used_at=timezone.now())
        Membership.objects.create(organization=organization, user=user, role=invitation.role)
        record(Action.JOINED, what=f"{organization.name}: {invitation.role}", by=user, organization=organization.pk)
    return organization


def revoke_invitation(*, invitation: Invitation) -> None:
    with serialized():
        if Invitation.objects.filter(pk=invitation.pk, used_at=None).delete()[0]:
            organization = invitation.organization
            record(Action.INVITATION_REVOKED, what=organization.name, organization=organization.pk)


def set_role(*, membership: Membership, role: str) -> None:
    """Make a person owner, member or viewer. Raises HarkError if the role is unknown, or no owner would remain."""
    if role not in Role.values:
        raise _no_role()
    organization = membership.organization
    with serialized():
        if role == Role.OWNER:
            get_object_or_404(Membership, pk=membership.pk)
        else:
            _check_owner_stays(membership)
        if Membership.objects.filter(pk=membership.pk).exclude(role=role).update(role=role):
            record(
                Action.ROLE, what=f"{organization.name}: {role}", about=membership.user, organization=organization.pk
            )
    membership.role = role


def remove(*, membership: Membership, by: User) -> None:
    """Remove a person (or let them leave). What they shared becomes private.

    Raises HarkError if the person is the last owner.
    """
    with serialized():
        _check_owner_stays(membership)
        _end(membership, by)


def _end(membership: Membership, by: User) -> None:
    organization, user = membership.organization, membership.user
    for model in (Detector, Recording, Job):
        model.objects.filter(user=user, organization=organization).update(organization=None)
    Invitation.objects.filter(organization=organization, invited_by=user, used_at=None).delete()
    membership.delete()
    action = Action.LEFT if by == user else Action.PERSON_REMOVED
    record(action, what=organization.name, about=user, organization=organization.pk)


def _check_owner_stays(membership: Membership) -> None:
    others = Membership.objects.filter(organization=membership.organization, role=Role.OWNER).exclude(pk=membership.pk)
    current = get_object_or_404(Membership, pk=membership.pk)  # 404 if they have left in the meantime
    if current.role == Role.OWNER and not others.exists():
        raise HarkError(
            _("The organization needs an owner."),
            _("%(name)s is its only owner.") % {"name": membership.user.username},
            _("Make somebody else an owner first, or delete the organization."),
        )


def leave_all(*, user: User) -> None:
    """Remove the user of a deleted account from all organizations; called in a transaction.

    An empty organization is deleted. If no owner remains, the longest-standing person becomes one, members before
    viewers.
    """
    for membership in Membership.objects.filter(user=user).select_related("organization", "user"):
        organization = membership.organization
        _end(membership, user)
        left = Membership.objects.filter(organization=organization).select_related("user", "organization")
        if not left.exists():
            delete(organization=organization)
        elif not left.filter(role=Role.OWNER).exists():
            heir = left.filter(role=Role.MEMBER).first() or left.first()
            assert heir is not None
            set_role(membership=heir, role=Role.OWNER)


# ---- sharing


def share(*, thing: Thing, organization: Organization | None, by: User) -> None:
    """Share a detector (with all its versions) or a recording with an organization, or withdraw it (None).

    Its user may share it with an organization in which they are more than a viewer; an owner of the organization may
    withdraw it. Raises StatusError (403) otherwise.
    """
    is_detector = isinstance(thing, Detector)
    withdrawn = Action.DETECTOR_WITHDRAWN if is_detector else Action.RECORDING_WITHDRAWN
    shared = Action.DETECTOR_SHARED if is_detector else Action.RECORDING_GIVEN
    with serialized():  # includes the check of rights, so that people and sharing cannot change in between
        before = cast(
            Thing, get_object_or_404(type(thing).objects.select_related("organization"), pk=thing.pk)
        ).organization
        own = thing.user_id == by.pk
        if not own and (organization is not None or before is None or not manages(by, before)):
            raise not_yours()
        if organization is not None and not to_share_with(by).filter(pk=organization.pk).exists():
            raise StatusError(
                403,
                _("You cannot share with this organization."),
                _("You are a viewer of it, or not in it at all."),
                _("Ask one of its owners to make you a member."),
            )
        if before == organization:
            return
        days = None if is_detector or organization is None else organization.recordings_days
        if days is not None and thing.created_at < timezone.now() - timedelta(days=days):
            raise HarkError(
                _("This recording cannot be shared."),
                _("%(name)s shares recordings for %(days)d days after they were made.")
                % {"name": organization and organization.name, "days": days},
                _("Ask one of its owners; its page names them."),
            )
        _give(thing, organization)
        for affected, action in ((before, withdrawn), (organization, shared)):
            if affected is not None:
                record(action, what=f"{thing.pk}, {affected.name}", about=thing.user, organization=affected.pk)


def _give(thing: Thing, organization: Organization | None) -> None:
    type(thing).objects.filter(pk=thing.pk).update(organization=organization)
    _jobs_about(thing).update(organization=organization)
    thing.organization = organization


def _jobs_about(thing: Thing) -> QuerySet[Job]:
    jobs: QuerySet[Job] = Job.objects.filter(user=thing.user)
    if isinstance(thing, Recording):
        return jobs.filter(spec__recording=str(thing.pk))
    about = {"spec__phrase": thing.phrase, "spec__language": thing.language}
    trained = jobs.filter(version__detector=thing).values("pk")
    return jobs.filter(Q(pk__in=trained) | Q(kind__in=("retrain", "compare"), **about))


# ---- how long recordings stay shared


def set_retention(*, organization: Organization, recordings_days: int | None) -> None:
    """Set for how many days after creation recordings remain shared; None means until a user withdraws them."""
    Organization.objects.filter(pk=organization.pk).update(recordings_days=recordings_days)
    limit = f"{organization.name}: {recordings_days or 'no limit'}"
    record(Action.ORGANIZATION_RETENTION, what=limit, organization=organization.pk)


def withdraw_what_is_old() -> int:
    """Withdraw recordings whose sharing period is over; return their number. Called every few seconds."""
    gone = 0
    for organization in Organization.objects.exclude(recordings_days=None):
        since = timezone.now() - timedelta(days=organization.recordings_days or 0)
        with serialized():
            for recording in Recording.objects.filter(organization=organization, created_at__lt=since):
                _give(recording, None)
                what = f"{recording.pk}, {organization.name}"
                record(Action.RECORDING_WITHDRAWN, what=what, about=recording.user, organization=organization.pk)
                gone += 1
    return gone


# ---- quota


def may_set_quota(user: User, organization: Organization) -> bool:
    """Return whether the user may set the quota.

    Hark's owner may and, until that owner has set it, the organization's owners.
    """
    return user.is_owner or (not organization.quota_is_fixed and manages(user, organization))


def set_quota(*, organization: Organization, limits: Limits, by: User) -> None:
    """Set the quota of all its members together; None and 0 mean no limit.

    A quota from the owner of the installation can no longer be changed by the organization's owners until it is
    removed. Raises StatusError (403) if the user may not set it.
    """
    limits = Limits(*(value or None for value in astuple(limits)))
    fixed = by.is_owner and any(astuple(limits))
    with serialized():
        organization.refresh_from_db()
        if not may_set_quota(by, organization):
            raise StatusError(
                403,
                _("You cannot set this quota."),
                _("The owner of the installation has set it, or you are not an owner of the organization."),
                _("Ask the owner of the installation."),
            )
        Organization.objects.filter(pk=organization.pk).update(**asdict(limits), quota_is_fixed=fixed)
        record(Action.ORGANIZATION_QUOTA, what=f"{organization.name}: {limits}", organization=organization.pk)
    organization.refresh_from_db()


# ---- for pages and the API


def with_counts(organizations: QuerySet[Organization]) -> QuerySet[Organization]:
    return organizations.annotate(people=Count("memberships"))
