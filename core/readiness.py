"""Whether something optional can work here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Readiness:
    """Whether it can; if not, why and what the user can do about it."""

    ok: bool
    why: str = ""
    how_to_enable: str = ""
