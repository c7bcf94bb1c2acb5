"""Names in the ``.env`` of earlier systems for meetings and calls.

Each is adopted, or rejected with a reason. An adopted name stands in for Hark's own name. If both are set, Hark's own
name wins (docs/compatibility.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from core.settings.given_secrets import weakness
from core.settings.rules import RULES, Rule, names_in, whole

MAX_DURATION_S = 1_000_000  # seconds per recording
MAX_JOBS = 10_000
QUEUE = "JOB_QUEUE_MAX_"


@dataclass(frozen=True)
class Setting:
    """A setting found under an earlier name.

    Attributes:
        effect: its effect or, if ``refused``, the reason for rejecting it.
        what_to_do: the user's next step; empty if none is needed.
    """

    name: str
    refused: bool
    effect: str
    what_to_do: str = ""


def _secret(text: str) -> str:
    if why := weakness(text):
        raise ValueError(why)
    return text


def _algorithm(text: str) -> str:
    if text != "HS256":
        raise ValueError("Hark signs with HS256 only")
    return text


def _one_client(text: str) -> str:
    clients = names_in(text)
    if len(clients) != 1:
        raise ValueError("Hark uses one Google client, with its id and its secret")
    return clients[0]


def _whisper(text: str) -> str:
    if "/" in text and not Path(text).expanduser().exists():
        raise ValueError("it is neither a size such as large-v3 nor a path on this machine")
    return text


def _nothing(why: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        raise ValueError(why)

    return check


def _limit(use: str, own: str) -> Rule:
    return Rule(use, whole(MAX_JOBS), f"Set {own}, or correct it.", own)


_AT_WORK = _limit("jobs running at a time in each queue", "HARK_JOBS_RUNNING")
_OF_A_USER = _limit("jobs of one user running at a time in each queue", "HARK_JOBS_RUNNING_PER_USER")
_WAITING = _limit("jobs that may wait", "HARK_JOBS_WAITING")
ALIASES = {
    "SECRET_KEY": Rule(
        "signs sessions and tokens", _secret, "Set your own, or leave it out: Hark then creates one.", "HARK_SECRET_KEY"
    ),
    "ALGORITHM": Rule("how access tokens are signed", _algorithm, "Take it out."),
    "OPENAI_MODEL_NAME": Rule(
        "the language model, at OPENAI_BASE_URL with OPENAI_API_KEY", str, "Take it out.", "OPENAI_MODEL",
        ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    ),
    "GOOGLE_CLIENT_IDS": Rule(
        "sign-in with Google, with GOOGLE_CLIENT_SECRET", _one_client,
        "Set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET.", "GOOGLE_CLIENT_ID",
        ("GOOGLE_CLIENT_SECRET",),
    ),
    "WHISPER_MODEL": Rule(
        "the Whisper model, where such an engine recognizes", _whisper, "Set one, or remove it.",
        "HARK_WHISPER_MODEL",
    ),
    "MAX_AUDIO_LENGTH": Rule(
        "seconds that a recording may have", whole(MAX_DURATION_S), "Set HARK_UPLOAD_MAX_SECONDS.",
        "HARK_UPLOAD_MAX_SECONDS",
    ),
    "GPU_MEMORY_FRACTION": Rule(
        "", _nothing("Hark takes the memory of a GPU that its models need"),
        "Remove it; HARK_TORCH=cpu leaves the GPU unused.",
    ),
    **{f"{QUEUE}{end}": _AT_WORK for end in ("RUNNING", "CONCURRENT", "WORKERS")},
    **{f"{QUEUE}{end}": _OF_A_USER for end in ("PER_USER", "RUNNING_PER_USER")},
    **{f"{QUEUE}{end}": _WAITING for end in ("SIZE", "WAITING", "PENDING", "QUEUED")},
}  # fmt: skip
_UNKNOWN_LIMIT = Rule(
    "", _nothing("Hark has no such limit"),
    "It has HARK_JOBS_RUNNING, HARK_JOBS_RUNNING_PER_USER and HARK_JOBS_WAITING.",
)  # fmt: skip


def checked(environment: Mapping[str, str] = os.environ) -> Iterator[Setting]:
    """Yield each setting that is set and has a rule here or in ``rules.py``. Messages do not repeat the values."""
    unknown = sorted(name for name in environment if name.startswith(QUEUE) and name not in ALIASES)
    for name, rule in {**RULES, **ALIASES, **dict.fromkeys(unknown, _UNKNOWN_LIMIT)}.items():
        given = environment.get(name, "").strip()
        if not given:
            continue
        try:
            value = rule.check(given)
        except ValueError as error:
            yield Setting(name, True, f"{error}.", rule.what_to_do)
            continue
        if environment.get(rule.own, "") not in ("", value):
            yield Setting(name, True, f"{rule.own} is also set and takes precedence.", "Remove one of them.")
        elif rule.needs and not any(environment.get(one, "").strip() for one in rule.needs):
            needed = " or ".join(rule.needs)
            yield Setting(name, True, f"it does nothing without {needed}.", f"Set {needed}, or remove it.")
        else:
            yield Setting(name, False, rule.use)


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set Hark's own names to the adopted values, where they are not set."""
    for name, rule in ALIASES.items():
        if rule.own and not environment.get(rule.own) and (value := rule.value(environment.get(name, ""))):
            environment[rule.own] = value
