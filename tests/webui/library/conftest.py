"""A library of a user's, and clips for it."""

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
    """Makes a clip: a text, a number that makes its audio another one, and whatever else."""

    def new_clip(text: str, seed: int = 0, seconds: float = 0.5, **fields: object) -> NewClip:
        noise = np.random.default_rng(seed).standard_normal(round(16000 * seconds))
        values: dict[str, object] = {"audio": (0.1 * noise).astype(np.float32), "text": text, "text_normalized": text}
        return NewClip(**(values | {"language": "en", "engine": "espeak", "voice": "en-us"} | fields))  # type: ignore[arg-type]

    return new_clip


@pytest.fixture
def library(portal: Path) -> Iterator[Library]:
    """The owner's library, which is the installation's own."""
    with Library(portal) as opened:
        yield opened
