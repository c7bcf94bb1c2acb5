"""Whose a session is: Django's own answer, with whether the user is in any organization."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import Exists, OuterRef

from webui.accounts.models import User
from webui.organizations.models import Membership


class Backend(ModelBackend):
    """Fetch users with ``is_alone``, for :mod:`webui.organizations.access`."""

    def get_user(self, user_id: Any) -> User | None:
        """Find the user, unless they are deactivated."""
        users = User.objects.annotate(is_alone=~Exists(Membership.objects.filter(user=OuterRef("pk"))))
        found = users.filter(pk=user_id).first()
        return found if found is not None and self.user_can_authenticate(found) else None
