"""Find the user of a session as Django does, with an SQL statement that is built once: each page asks for it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend

from webui.accounts.models import User
from webui.organizations.models import Membership

FETCHED = (
    "SELECT person.*, NOT EXISTS"
    f" (SELECT 1 FROM {Membership._meta.db_table} AS theirs WHERE theirs.user_id = person.id) AS is_alone"
    f" FROM {User._meta.db_table} AS person WHERE person.id = %s"
)


class Backend(ModelBackend):
    def get_user(self, user_id: Any) -> User | None:
        """The user, unless they are deactivated; with whether they are in no organization."""
        found = next(iter(User.objects.raw(FETCHED, [user_id])), None)
        return found if found is not None and self.user_can_authenticate(found) else None
