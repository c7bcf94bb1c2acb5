"""Whole numbers as addresses and forms have them."""

from __future__ import annotations

LARGEST = 2**63 - 1  # that the database takes


def whole_number(text: str | None) -> int | None:
    """The number that a text of ASCII digits says, :data:`LARGEST` at most; None for any other text."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > 19:
        return None
    return min(int(text), LARGEST)
