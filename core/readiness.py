"""Readiness of optional parts on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import HarkError


@dataclass(frozen=True)
class Readiness:
    """The readiness of a part; if it is not ready, the reason, and how the user can enable it."""

    ok: bool
    why: str = ""
    how_to_enable: str = ""

    def require(self, what: str) -> None:
        """Raise HarkError if the part is not ready; ``what`` names the task that cannot be done."""
        if not self.ok:
            raise HarkError(what, self.why, self.how_to_enable)
