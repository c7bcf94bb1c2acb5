"""The application of accounts: who may see what."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Known to Django as ``accounts``."""

    name = "webui.accounts"
    label = "accounts"
