"""A user's library, and clips for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from db.db_api import Library
from db.records import NewClip

Make = Callable[..., NewClip]


@pytest.fixture
def make() -> Make:
    """Make a clip: a text, a number that varies its audio, and other fields."""

    def new_clip(text: str, seed: int = 0, seconds: float = 0.5, **fields: object) -> NewClip:
        noise = np.random.default_rng(seed).standard_normal(round(16000 * seconds))
        values: dict[str, object] = {"audio": (0.1 * noise).astype(np.float32), "text": text, "text_normalized": text}
        return NewClip(**(values | {"language": "en", "engine": "espeak", "voice": "en-us"} | fields))

    return new_clip


@pytest.fixture
def library(portal: Path) -> Iterator[Library]:
    """The owner's library, which is that of the installation."""
    with Library(portal) as opened:
        yield opened
