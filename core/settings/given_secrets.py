"""Detection of guessable secrets in the environment: those that are too short, or the placeholder of an example."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from core.errors import HarkError

MIN_LENGTH = 32  # minimum characters of a key; an attacker who guesses it can sign in as any user
KEY, EARLIER_KEYS = "HARK_SECRET_KEY", "HARK_SECRET_KEY_FALLBACKS"
_URLS = ("DATABASE_URL", "REDIS_URL")  # settings that hold passwords
_PLACEHOLDER = re.compile(
    r"change.?(me|this|it)|replace.?(me|this|with)|placeholder|example|insecure|your.?(own|secret|key|password|token)"
    r"|(super|my|dev|random|long).?(secret|string|key)|that.is.a?.?secret|not.for.production|generate|^todo|^<.*>$"
    r"|^(0123456789abcdef|abcdefghijklm|09d25e094faa6ca2)"  # the last one is the key of FastAPI's tutorial
    r"|^(?P<again>.{1,16}?)(?P=again)+$"
    r"|(?-i:^[A-Z]+(_[A-Z0-9]+)+$|^(PASSWORD|SECRET|KEY|TOKEN)$)",
    re.IGNORECASE,
)


def check_given_secrets(environment: Mapping[str, str] = os.environ) -> None:
    """Raise HarkError if a secret can be guessed. The message does not repeat it."""
    given = [(name, environment.get(name, "").strip()) for name in (KEY, "HARK_METRICS_TOKEN")]
    given += [(EARLIER_KEYS, key.strip()) for key in environment.get(EARLIER_KEYS, "").split(",")]
    given += [(name, _password(environment.get(name, ""))) for name in _URLS]
    for name, text in given:
        fault_of = weakness if name in (KEY, EARLIER_KEYS) else placeholder
        why = fault_of(text) if text else ""
        if why:
            raise HarkError(
                f"{name} can be guessed.",
                f"{why[0].upper()}{why[1:]}.",
                "Set your own: openssl rand -hex 32 creates one (docs/operating.md, Rotating the secret key).",
            )


def weakness(key: str) -> str:
    """Return the reason why a signing key can be guessed; "" if it cannot."""
    if len(key) < MIN_LENGTH:
        return f"it has fewer than {MIN_LENGTH} characters, and an attacker who guesses it can sign in as any user"
    return placeholder(key)


def placeholder(text: str) -> str:
    """Return the reason why a secret is an example's placeholder; "" if it is not."""
    if _PLACEHOLDER.search(text) or len(set(text)) < 3:
        return "it is a placeholder from a public example"
    return ""


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # another check reports the error
        return ""
