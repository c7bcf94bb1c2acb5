"""Access control: decides what a user may see and change, for pages, the API, sockets and downloads.

An object belongs to its user and may be shared with one organization, whose members can then see it. Every view looks
objects up through one of these checks, even those that cannot be shared (``tests/webui/organizations/test_guard.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Q
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from webui.accounts.models import User
from webui.http.errors import StatusError
from webui.organizations.models import Membership, Organization, Role

READING: Collection[str] = (Role.OWNER, Role.MEMBER, Role.VIEWER)
CHANGING: Collection[str] = (Role.OWNER, Role.MEMBER)

Row = TypeVar("Row", bound=models.Model)


def shared_with(**more: Any) -> models.ForeignKey[Any, Any]:
    """Return the foreign key to the organization that an object is shared with; null until its user shares it."""
    return models.ForeignKey(Organization, on_delete=models.SET_NULL, null=True, blank=True, **more)


def organizations_of(user: User, roles: Collection[str]) -> models.QuerySet[Membership, Any]:
    """Return the organizations in which a user has one of the roles, as a subquery.

    A join would return an object once per member of its organization.
    """
    return Membership.objects.filter(user=user, role__in=roles).values("organization")


def to_share_with(user: User) -> models.QuerySet[Organization]:
    """Return the organizations with which the user may share: those in which they are more than a viewer."""
    return Organization.objects.filter(pk__in=organizations_of(user, CHANGING))


def membership_of(user: User, organization: Organization) -> Membership | None:
    """Return a user's membership; None if they are not in the organization."""
    return Membership.objects.filter(organization=organization, user=user).first()


class Owned(models.QuerySet[Row]):
    """Rows that belong to a user and are never shared with an organization."""

    to_thing = ""  # lookup path to the object that a row belongs to, such as "recording__"

    def owned_by(self, user: User) -> Self:
        """Return the user's own rows; a deactivated user has none."""
        return self.filter(self._own(user)) if user.is_active else self.none()

    def _own(self, user: User) -> Q:
        return Q(**{f"{self.to_thing}user": user})


class Things(Owned[Row]):
    """Rows that belong to a user and may be shared with an organization."""

    def visible_to(self, user: User) -> Self:
        """Return the user's own rows, and those shared with an organization that they are in."""
        return self._of(user, READING)

    def editable_by(self, user: User) -> Self:
        """Return the user's own rows, and those shared with an organization in which they are more than a viewer."""
        return self._of(user, CHANGING)

    def _of(self, user: User, roles: Collection[str]) -> Self:
        if user.is_alone or not user.is_active:
            return self.owned_by(user)
        return self.filter(self._own(user) | self._shared(user, roles))

    def _shared(self, user: User, roles: Collection[str]) -> Q:
        return Q(**{f"{self.to_thing}organization__in": organizations_of(user, roles)})


def visible(things: Things[Row], user: User, **which: Any) -> Row:
    """Return an object that the user may read. Raises Http404 if no visible object matches."""
    return get_object_or_404(things.visible_to(user), **which)


def to_change(things: Things[Row], user: User, **which: Any) -> Row:
    """Return an object that the user may change.

    Raises Http404 if no visible object matches, and StatusError (403) if the user may only read it.
    """
    thing = visible(things, user, **which)
    if not things.editable_by(user).filter(pk=thing.pk).exists():
        raise StatusError(
            403,
            _("You cannot change this."),
            _("It is shared with you as read-only."),
            _("Ask an owner of the organization to make you a member."),
        )
    return thing


def owned(things: Things[Row], user: User, **which: Any) -> Row:
    """Return an object that the user owns.

    Raises Http404 if no visible object matches, and StatusError (403) if another user owns it.
    """
    thing = visible(things, user, **which)
    if not things.owned_by(user).filter(pk=thing.pk).exists():
        raise not_yours()
    return thing


def not_yours() -> StatusError:
    return StatusError(
        403,
        _("Only the owner can do that."),
        _("It is shared with you but belongs to another user."),
        _("Ask that user to do it."),
    )


def sharing_of(thing: Any, user: User) -> dict[str, Any]:
    """Return what a page shows about sharing an object; ``share_with`` lists the organizations to choose from."""
    own = thing.user_id == user.pk
    organization = thing.organization
    membership = None if organization is None else membership_of(user, organization)
    return {
        "own": own,
        "may_change": own or (membership is not None and membership.changes),
        "may_withdraw": organization is not None and (own or (membership is not None and membership.manages)),
        "share_with": list(to_share_with(user)) if own else [],
        "organization": organization,
    }
