"""What a user may see and change: the one place that decides it, for pages, the API, sockets and downloads.

Things are their user's, and may be shared with one organization, whose people see them; what cannot be shared has the
same three questions, so that no view looks for anything without one of them (``tests/webui/organizations/
test_guard.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Q
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from webui.accounts.models import User
from webui.errors import StatusError
from webui.organizations.models import Membership, Organization, Role

READING: Collection[str] = (Role.OWNER, Role.MEMBER, Role.VIEWER)
CHANGING: Collection[str] = (Role.OWNER, Role.MEMBER)

Row = TypeVar("Row", bound=models.Model)


def shared_with(**more: Any) -> models.ForeignKey[Any, Any]:
    """The field of a thing that can be shared: the organization that it is shared with, none unless its user did."""
    return models.ForeignKey(Organization, on_delete=models.SET_NULL, null=True, blank=True, **more)


def organizations_of(user: User, roles: Collection[str]) -> models.QuerySet[Membership, Any]:
    """The organizations in which a user has one of the roles, for a subquery: a join would have a thing once for each
    person of its organization."""
    return Membership.objects.filter(user=user, role__in=roles).values("organization")


class Owned(models.QuerySet[Row]):
    """Rows of what has a user, and is never shared with an organization."""

    to_thing = ""  # the way from a row to the thing that it belongs to, such as "recording__"

    def owned_by(self, user: User) -> Self:
        """A user's own; nothing is a deactivated one's."""
        return self.filter(self._own(user)) if user.is_active else self.none()

    def _own(self, user: User) -> Q:
        return Q(**{f"{self.to_thing}user": user})


class Things(Owned[Row]):
    """Rows of things that have a user, and an organization where they are shared."""

    def visible_to(self, user: User) -> Self:
        """Their own, and what is shared with an organization that they are in."""
        return self._of(user, READING)

    def editable_by(self, user: User) -> Self:
        """Their own, and what is shared with an organization in which they are more than a viewer."""
        return self._of(user, CHANGING)

    def _of(self, user: User, roles: Collection[str]) -> Self:
        if user.is_alone or not user.is_active:
            return self.owned_by(user)
        return self.filter(self._own(user) | self._shared(user, roles))

    def _shared(self, user: User, roles: Collection[str]) -> Q:
        return Q(**{f"{self.to_thing}organization__in": organizations_of(user, roles)})


def visible(things: Things[Row], user: User, **which: Any) -> Row:
    """The thing, for reading. Raises Http404 where there is none that the user may see."""
    return get_object_or_404(things.visible_to(user), **which)


def to_change(things: Things[Row], user: User, **which: Any) -> Row:
    """The thing, for a change. Raises Http404 as :func:`visible`, and StatusError (403) for who may only read it."""
    found = visible(things, user, **which)
    if not things.editable_by(user).filter(pk=found.pk).exists():
        raise StatusError(
            403,
            _("You may not change this."),
            _("It is shared with you for reading."),
            _("Ask an owner of the organization to make you a member."),
        )
    return found


def owned(things: Things[Row], user: User, **which: Any) -> Row:
    """The thing, for what its user alone decides. Raises Http404 as :func:`visible`, and StatusError (403) for all
    others."""
    found = visible(things, user, **which)
    if not things.owned_by(user).filter(pk=found.pk).exists():
        raise not_yours()
    return found


def not_yours() -> StatusError:
    return StatusError(
        403,
        _("Only the owner can do that."),
        _("It is shared with you, and belongs to somebody else."),
        _("Ask that person."),
    )
