"""The Django application of accounts and sign-in."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "webui.accounts"

    def ready(self) -> None:
        from allauth.account.signals import password_changed, password_set
        from django.contrib.auth.signals import user_logged_in

        from webui.accounts import second_factor  # noqa: F401  # connects its own signals
        from webui.accounts.audit import Action, record
        from webui.accounts.sessions import begins

        user_logged_in.connect(begins, dispatch_uid="sessions")
        for signal in (password_changed, password_set):
            signal.connect(lambda **signal: record(Action.PASSWORD), weak=False, dispatch_uid="audit")
