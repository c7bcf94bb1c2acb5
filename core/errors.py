"""The only error that a user of Hark sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.worded import Worded, listed, worded


class HarkError(Exception):
    """A failure that the user can understand and fix.

    The command line, the API and the pages all show the same three sentences.

    Attributes:
        what: what happened, in one sentence.
        why: the cause, as far as known.
        what_to_do: the next step for the user.
        reason: a code for programs: "refused" for what the user can fix, or that of a subclass.
    """

    reason = "refused"

    def __init__(self, what: str, why: str, what_to_do: str) -> None:
        super().__init__(f"{what} {why} {what_to_do}")
        self.what = what
        self.why = why
        self.what_to_do = what_to_do

    def as_dict(self) -> dict[str, str]:
        return {"what": self.what, "why": self.why, "what_to_do": self.what_to_do}

    def parts(self) -> dict[str, Any]:
        """Return :meth:`as_dict` with translatable templates under ``said``, and ``reason`` unless it is "refused"."""
        templates = {name: text.parts() for name, text in self.as_dict().items() if isinstance(text, Worded)}
        reason = {"reason": self.reason} if self.reason != HarkError.reason else {}
        return {**self.as_dict(), **({"said": templates} if templates else {}), **reason}

    def __reduce__(self) -> tuple[type[HarkError], tuple[str, str, str]]:
        # Exceptions are pickled from worker processes; the default would call __init__ with one string.
        return type(self), (self.what, self.why, self.what_to_do)


class UnusableFile(HarkError):
    """Raised if an untrusted file cannot be read: its confined reader refused it, or was stopped."""


class LimitReached(HarkError):
    """Raised if a job exceeded the time or memory limit of its kind."""

    reason = "limit"


def no_such(kind: str, name: str, known: Iterable[str]) -> HarkError:
    return HarkError(
        worded("There is no %(kind)s called %(name)s.", kind=kind, name=repr(name[:40])),
        worded("Hark has %(known)s.", known=listed(known)),
        worded("Choose one of these."),
    )
