"""A library and a corpus, both empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.db_api import Library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    return tmp_path / "corpus"
