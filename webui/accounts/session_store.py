"""Sessions in the database, as of Django; a session is fetched by a statement that is put together once, as every
request asks for one."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

FETCHED = f"SELECT session_data FROM {Session._meta.db_table} WHERE session_key = %s AND expire_date > %s"


class SessionStore(db.SessionStore):
    """See the module. Called as Django's own: what a session holds is signed with the class's name."""

    def load(self) -> dict[str, Any]:
        """What the session holds; nothing where there is none, or its time is over."""
        with connection.cursor() as cursor:
            now = connection.ops.adapt_datetimefield_value(timezone.now())
            cursor.execute(FETCHED, [self.session_key, now])
            found = cursor.fetchone()
        if found is None:
            self._session_key = None
            return {}
        return self.decode(found[0])
