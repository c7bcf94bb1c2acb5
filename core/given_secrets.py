"""Secrets in the environment that others can guess: too short, or what an example has in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from core.errors import HarkError

SHORTEST = 32  # characters of a key: a shorter one can be guessed, and with it one signs in as any user
KEY = "HARK_SECRET_KEY"
_URLS = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL")  # which hold passwords
_PLACEHOLDER = re.compile(
    r"change.?(me|this|it)|replace.?(me|this|with)|placeholder|example|insecure|your.?(own|secret|key|password|token)"
    r"|(?-i:^[A-Z]+(_[A-Z0-9]+)+$|^(PASSWORD|SECRET|KEY|TOKEN)$)",
    re.IGNORECASE,
)


def check_given_secrets(environment: Mapping[str, str] = os.environ) -> None:
    """Raises HarkError where a secret can be guessed; the message does not repeat it."""
    given = {name: environment.get(name, "").strip() for name in (KEY, "HARK_METRICS_TOKEN")}
    given |= {name: _password(environment.get(name, "")) for name in _URLS}
    for name, text in given.items():
        why = "" if not text else weakness(text) if name == KEY else placeholder(text)
        if why:
            raise HarkError(
                f"{name} can be guessed.",
                f"{why[0].upper()}{why[1:]}.",
                f"Set {name} to one of your own: openssl rand -hex 32 makes one."
                + (
                    f" If sessions and webhooks are to stay, put the old key into {KEY}_FALLBACKS."
                    if name == KEY
                    else ""
                ),
            )


def weakness(key: str) -> str:
    """Why a key that signs can be guessed; "" where it cannot."""
    if len(key) < SHORTEST:
        return f"it has fewer than {SHORTEST} characters: who guesses it signs in as any user"
    return placeholder(key)


def placeholder(text: str) -> str:
    """Why a secret is what an example has in its place; "" where it is not."""
    if _PLACEHOLDER.search(text) or len(set(text)) < 3:
        return "it is a placeholder, which anybody can read in an example"
    return ""


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # what is wrong with it, others say
        return ""
