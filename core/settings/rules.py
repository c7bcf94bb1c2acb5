"""Settings that have rules: numbers, and names that other programs use too. A rejected value counts as not set."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_MINUTES = 14 * 24 * 60  # maximum minutes that an access token works, as long as a refresh token
MAX_NUMBER = 10**15  # the largest of any other number; as bytes, a petabyte
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


@dataclass(frozen=True)
class Rule:
    """Checks one setting: ``check`` returns the value in Hark's form, or raises ValueError with the reason.

    ``use`` says what the setting is for. If ``needs`` names any settings, one of them must be set too: without it the
    value has no effect.
    """

    use: str
    check: Callable[[str], str]
    what_to_do: str
    own: str = ""  # Hark's own name of the setting, if different
    needs: tuple[str, ...] = ()

    def value(self, text: str) -> str:
        """Return the value in Hark's form; "" if it is empty or rejected."""
        try:
            return self.check(text.strip()) if text.strip() else ""
        except ValueError:
            return ""


def whole(maximum: int, minimum: int = 1) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not (text.isascii() and text.isdecimal() and minimum <= int(text[:19]) <= maximum):
            raise ValueError(f"it must be a whole number from {minimum} to {maximum:,}")
        return text

    return check


def _above_zero(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError("it must be a number above 0")
    return text


def names_in(text: str) -> list[str]:
    """Split names that are separated by commas, or given as a JSON list.

    Raises ValueError if the JSON is anything else.
    """
    names: object = text.split(",")
    if text.startswith("["):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("it is not a list: use names separated by commas, or JSON")
    return [name.strip() for name in names if name.strip()]


def _origins(text: str) -> str:
    origins = [origin.rstrip("/").lower() for origin in names_in(text)]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin[:80]!r} is not an origin such as https://app.example.org (* is not one: list each)"
            )
    return ",".join(origins)


def _no_file(text: str) -> str:
    """Reject SQLite files; ``core.settings.database_url`` checks the rest."""
    if text.startswith("sqlite"):
        raise ValueError("an SQLite file needs no name: it is in the data folder")
    return text


def _level(text: str) -> str:
    if text.upper() not in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("it is not one of INFO, WARNING, ERROR and CRITICAL; a more detailed log would contain tokens")
    return text.upper()


def _number(use: str, check: Callable[[str], str]) -> Rule:
    return Rule(use, check, "Correct it, or remove it to use the default.")


RULES = {
    "ACCESS_TOKEN_EXPIRE_MINUTES": Rule(
        "how long an access token works", whole(MAX_MINUTES), "Correct it; the default is 15 minutes."
    ),
    "HF_TOKEN": Rule("lets models be fetched from Hugging Face that ask for it", str, ""),
    "CORS_ORIGINS": Rule("pages of these origins can call Hark", _origins, "List origins, separated by commas."),
    "DATABASE_URL": Rule("accounts, jobs and new clip libraries are in this database", _no_file, "Take it out."),
    "LOG_LEVEL": Rule("less important messages are not logged", _level, "Set one, or remove it."),
    "HARK_AUDIT_DAYS": _number("days until entries of the audit log are deleted", whole(36_500)),
    "HARK_JOBS_LEASE_S": _number("seconds until another worker may take the job of a silent one", whole(86_400)),
    "HARK_JOBS_RUNNING": _number("jobs running at once in each queue", whole(MAX_NUMBER)),
    "HARK_JOBS_RUNNING_PER_USER": _number("jobs of one user running at once in each queue", whole(MAX_NUMBER)),
    "HARK_JOBS_WAITING": _number("jobs that may wait", whole(MAX_NUMBER)),
    "HARK_LLM_PART_CHARACTERS": _number("characters of a transcript in one request", _above_zero),
    "HARK_LLM_TIMEOUT_S": _number("seconds that the language model may take for an answer", _above_zero),
    "HARK_REQUESTS_PER_MINUTE": _number("requests of a token or an address in a minute", whole(MAX_NUMBER, minimum=0)),
    "HARK_UPLOAD_MAX_BYTES": _number("size of a recording", _above_zero),
    "HARK_UPLOAD_MAX_SECONDS": _number("seconds that a recording may have", _above_zero),
    "HARK_USER_MAX_BYTES": _number("disk space of a user other than the owner", whole(MAX_NUMBER, minimum=0)),
    "HARK_WAKES_PER_DAY": _number("clips that devices may send for a detector in a day", whole(MAX_NUMBER, minimum=0)),
    "HARK_WORKERS": _number("processes of each queue except webhooks that this machine starts", whole(MAX_NUMBER)),
}


def setting(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the value of one of :data:`RULES` in Hark's form; "" if it is not set or rejected."""
    return RULES[name].value(environment.get(name, ""))
