"""The second factor: its pages, codes and steps."""

from __future__ import annotations

import time
from typing import Any

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.test import Client

from tests.support.portal_users import PASSWORD
from webui.accounts.models import User

PAGE = "/account/second-factor"
CODES = f"{PAGE}/codes"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def code_of(secret: str, steps: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def turned_on(user: User, secret: str = SECRET) -> list[str]:
    """Turn it on; return the recovery codes."""
    TOTP.activate(user, secret)
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def confirmed(client: Client, password: str = PASSWORD) -> Any:
    """Confirm the password before a change."""
    return client.post("/account/again", {"password": password})


def password_step(client: Client) -> Any:
    return client.post("/account/login", {"name": "oscar", "password": PASSWORD, "next": "/jobs/"})


def is_signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200
