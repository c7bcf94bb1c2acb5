"""Emissions that were packed by their maker, and searching for many clips at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from db.db_api import Library
from db.records import NewClip, Where


def clip(text: str, number: int) -> NewClip:
    audio = np.full(1600, 0.001 * (number + 1), np.float32)
    return NewClip(audio, text, text, "en", "corpus", source=f"c:{number}")


def test_packed_emissions_come_back_as_they_are(tmp_path: Path, engine: str) -> None:
    with Library(tmp_path) as library:
        (one,) = library.add_clips([clip("a", 0)])
        packed = np.arange(32, dtype=np.uint8).reshape(2, 16)
        library.add_emissions("x", [(one, packed)])
        found = library.emission(one, "x")
        assert found is not None and found.dtype == np.uint8 and (found == packed).all()


def test_ids_of_a_search_are_those_of_the_clips(tmp_path: Path, engine: str) -> None:
    with Library(tmp_path) as library:
        library.add_clips(
            clip(text, n) for n, text in enumerate(["hey compass", "compass hey", "say hey compass", "x"])
        )
        for phrase in ("hey compass", "compass", '"', "", "小爱"):
            assert library.search_ids(phrase) == [found.id for found in library.search(phrase, 10)]
        assert library.search_ids("hey compass", Where(language="de")) == []
