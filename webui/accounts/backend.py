"""Authentication backend that finds a session's user as Django does, with SQL built once, as every page needs it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend

from webui.accounts.models import User

MEMBERSHIPS = User._meta.get_field("memberships").remote_field.model  # defined by an application above this one
FETCHED = (
    "SELECT person.*, NOT EXISTS"
    f" (SELECT 1 FROM {MEMBERSHIPS._meta.db_table} AS theirs WHERE theirs.user_id = person.id) AS is_alone"
    f" FROM {User._meta.db_table} AS person WHERE person.id = %s"
)


class Backend(ModelBackend):
    def get_user(self, user_id: Any) -> User | None:
        """Return the user with ``is_alone`` set, or None if there is none or the user is deactivated."""
        user = next(iter(User.objects.raw(FETCHED, [user_id])), None)
        return user if user is not None and self.user_can_authenticate(user) else None
