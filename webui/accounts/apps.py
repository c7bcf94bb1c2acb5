"""The application of accounts: who signs in, and for how long."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Known to Django as ``accounts``."""

    name = "webui.accounts"

    def ready(self) -> None:
        """A session has a beginning."""
        from django.contrib.auth.signals import user_logged_in

        from webui.accounts.sessions import begins

        user_logged_in.connect(begins, dispatch_uid="sessions")
