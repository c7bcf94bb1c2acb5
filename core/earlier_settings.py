"""Names in the ``.env`` of the earlier systems for meetings and calls: each is adopted or refused with a reason.

An adopted name stands in for Hark's own name, which wins where both are set. ``./hark serve`` prints the refused ones
at its start, ``./hark doctor`` lists all that are set (docs/compatibility.md).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from core.given_secrets import weakness

LONGEST_S = 1_000_000  # of a recording
LONGEST_MINUTES = 14 * 24 * 60  # of an access token: as long as a refresh token works
MOST_JOBS = 10_000
QUEUE = "JOB_QUEUE_MAX_"
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


@dataclass(frozen=True)
class EarlierSetting:
    """A name that is set, and its effect.

    Attributes:
        name: the name in the earlier system.
        taken: whether it has an effect here.
        said: its effect here, or why it is refused.
        what_to_do: the next step where it is refused.
    """

    name: str
    taken: bool
    said: str
    what_to_do: str = ""


@dataclass(frozen=True)
class _Rule:
    """``check`` returns the value in Hark's form, or raises ValueError with the reason for refusing it.

    If ``needs`` names any settings, one of them must be set too: without it the value has no effect.
    """

    use: str
    check: Callable[[str], str]
    what_to_do: str
    own: str = ""  # Hark's name for it, if different
    needs: tuple[str, ...] = ()


def _secret(text: str) -> str:
    if why := weakness(text):
        raise ValueError(why)
    return text


def _algorithm(text: str) -> str:
    if text != "HS256":
        raise ValueError("Hark signs with HS256 only")
    return text


def _whole(most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
            raise ValueError(f"it must be a whole number from 1 to {most:,}")
        return text

    return check


def _list(text: str) -> list[str]:
    """Split names that are separated by commas, or given as JSON."""
    if not text.startswith("["):
        found: object = text.split(",")
    else:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("it is not a list: use names separated by commas, or JSON")
    return [one.strip() for one in found if one.strip()]


def _origins(text: str) -> str:
    found = [one.rstrip("/").lower() for one in _list(text)]
    for one in found:
        if not _ORIGIN.fullmatch(one):
            raise ValueError(f"{one[:80]!r} is not an origin such as https://app.example.org (* is not one: list each)")
    return ",".join(found)


def _one_client(text: str) -> str:
    found = _list(text)
    if len(found) != 1:
        raise ValueError("Hark signs in with one client of Google's, by its id and its secret")
    return found[0]


def _no_file(text: str) -> str:
    """Refuse SQLite files; ``core.database_url`` checks all else."""
    if text.startswith("sqlite"):
        raise ValueError("an SQLite file needs no name: it is in the data folder")
    return text


def _whisper(text: str) -> str:
    if "/" in text and not Path(text).expanduser().exists():
        raise ValueError("it is neither a size such as large-v3 nor a path on this machine")
    return text


def _level(text: str) -> str:
    if text.upper() not in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("it is not one of INFO, WARNING, ERROR and CRITICAL; more detail would hold tokens")
    return text.upper()


def _nothing(why: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        raise ValueError(why)

    return check


def _limit(use: str, own: str) -> _Rule:
    return _Rule(use, _whole(MOST_JOBS), f"Set {own}, or correct it.", own)


_AT_WORK = _limit("jobs running at once in each queue", "HARK_JOBS_RUNNING")
_OF_A_USER = _limit("jobs of one user running at once in each queue", "HARK_JOBS_RUNNING_PER_USER")
_WAITING = _limit("jobs that may wait", "HARK_JOBS_WAITING")
_RULES = {
    "SECRET_KEY": _Rule(
        "signs sessions and tokens", _secret, "Set your own, or leave it out: Hark then creates one.", "HARK_SECRET_KEY"
    ),
    "ALGORITHM": _Rule("how access tokens are signed", _algorithm, "Take it out."),
    "ACCESS_TOKEN_EXPIRE_MINUTES": _Rule(
        "how long an access token works", _whole(LONGEST_MINUTES), "Correct it; the default is 15 minutes."
    ),
    "OPENAI_MODEL_NAME": _Rule(
        "the language model, at OPENAI_BASE_URL with OPENAI_API_KEY", str, "Take it out.", "OPENAI_MODEL",
        ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    ),
    "HF_TOKEN": _Rule("lets models be fetched from Hugging Face that ask for it", str, ""),
    "CORS_ORIGINS": _Rule("pages of these origins can call Hark", _origins, "List origins, separated by commas."),
    "GOOGLE_CLIENT_IDS": _Rule(
        "sign-in with Google, with GOOGLE_CLIENT_SECRET", _one_client,
        "Set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET.", "GOOGLE_CLIENT_ID",
        ("GOOGLE_CLIENT_SECRET",),
    ),
    "DATABASE_URL": _Rule("accounts, jobs and new clip libraries are in this database", _no_file, "Take it out."),
    "WHISPER_MODEL": _Rule(
        "the Whisper model, where such an engine recognizes", _whisper, "Set one, or remove it.",
        "HARK_WHISPER_MODEL",
    ),
    "MAX_AUDIO_LENGTH": _Rule(
        "seconds that a recording may have", _whole(LONGEST_S), "Set HARK_UPLOAD_MAX_SECONDS.",
        "HARK_UPLOAD_MAX_SECONDS",
    ),
    "GPU_MEMORY_FRACTION": _Rule(
        "", _nothing("Hark takes the memory of a GPU that its models need"),
        "Remove it; HARK_TORCH=cpu leaves the GPU unused.",
    ),
    "LOG_LEVEL": _Rule("less important messages are not logged", _level, "Set one, or remove it."),
    **{f"{QUEUE}{end}": _AT_WORK for end in ("RUNNING", "CONCURRENT", "WORKERS")},
    **{f"{QUEUE}{end}": _OF_A_USER for end in ("PER_USER", "RUNNING_PER_USER")},
    **{f"{QUEUE}{end}": _WAITING for end in ("SIZE", "WAITING", "PENDING", "QUEUED")},
}  # fmt: skip
_UNKNOWN_LIMIT = _Rule(
    "", _nothing("Hark has no such limit"),
    "It has HARK_JOBS_RUNNING, HARK_JOBS_RUNNING_PER_USER and HARK_JOBS_WAITING.",
)  # fmt: skip
NAMES = tuple(_RULES)


def found(environment: Mapping[str, str] = os.environ) -> Iterator[EarlierSetting]:
    """Yield each of these names that is set with its effect, in the order of :data:`NAMES`. Values are not repeated."""
    for name, rule in _set(environment):
        own = environment.get(rule.own, "") if rule.own else ""
        try:
            value = rule.check(environment[name].strip())
        except ValueError as error:
            yield EarlierSetting(name, False, f"{error}.", rule.what_to_do)
            continue
        if own and own != value:
            yield EarlierSetting(name, False, f"{rule.own} is also set and takes precedence.", "Remove one of them.")
        elif rule.needs and not any(environment.get(one, "").strip() for one in rule.needs):
            needed = " or ".join(rule.needs)
            yield EarlierSetting(name, False, f"it does nothing without {needed}.", f"Set {needed}, or remove it.")
        else:
            yield EarlierSetting(name, True, rule.use)


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set Hark's own names to the adopted values, where they are not set."""
    for name, rule in _set(environment):
        if rule.own and not environment.get(rule.own) and (value := taken(name, environment)):
            environment[rule.own] = value


def taken(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the value of one of these names in Hark's form; "" if it is not set, or refused."""
    try:
        return _RULES[name].check(environment.get(name, "").strip()) if environment.get(name, "").strip() else ""
    except ValueError:
        return ""


def _set(environment: Mapping[str, str]) -> list[tuple[str, _Rule]]:
    unknown = sorted(name for name in environment if name.startswith(QUEUE) and name not in _RULES)
    rules = {**_RULES, **dict.fromkeys(unknown, _UNKNOWN_LIMIT)}
    return [(name, rule) for name, rule in rules.items() if environment.get(name, "").strip()]
