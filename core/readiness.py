"""Readiness of optional parts on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import HarkError


@dataclass(frozen=True)
class Readiness:
    """The readiness of one part; if it is not ready, the cause and how the user can enable it."""

    ok: bool
    why: str = ""
    how_to_enable: str = ""

    def require(self, what: str) -> None:
        """Raise HarkError if it cannot work; ``what`` names what is not done."""
        if not self.ok:
            raise HarkError(what, self.why, self.how_to_enable)
