"""Whether something optional can work here."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import HarkError


@dataclass(frozen=True)
class Readiness:
    """Whether it can; if not, why and what the user can do about it."""

    ok: bool
    why: str = ""
    how_to_enable: str = ""

    def require(self, what: str) -> None:
        """Raise HarkError where it cannot; ``what`` says what is not done then."""
        if not self.ok:
            raise HarkError(what, self.why, self.how_to_enable)
