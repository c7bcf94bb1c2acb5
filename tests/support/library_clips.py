"""Clips for a library, and what another program does to it."""

from __future__ import annotations

from collections.abc import Callable

from db.records import NewClip
from tests.support.sounds import noise

Run = Callable[..., None]


def new_clip(text: str, seed: int = 0, **fields: object) -> NewClip:
    values: dict[str, object] = {"audio": noise(0.1, seed), "text": text, "text_normalized": text, "language": "en"}
    return NewClip(**(values | {"engine": "fake"} | fields))  # type: ignore[arg-type]


def numbered_clip(number: int, seconds: float = 0.1) -> NewClip:
    """Return noise whose text and request have the number."""
    return new_clip(f"t{number}", audio=noise(seconds, number), request_id=f"r{number}")
