"""The users of ``tests/webui/conftest.py``: their password, and their browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.test import Client

if TYPE_CHECKING:
    from webui.accounts.models import User

PASSWORD = "a-good-long-password"


def browser_of(user: User, **options: Any) -> Client:
    """Return a browser with the user's session; ``options`` are the client's."""
    client = Client(**options)
    client.force_login(user)
    return client
