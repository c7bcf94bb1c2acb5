"""Constants and functions of a module, replaced for a test."""

from __future__ import annotations

from typing import Any

import pytest


def replace_in(owner: Any, monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    """Replace several attributes of a module or class until the test ends."""
    for name, value in values.items():
        monkeypatch.setattr(owner, name, value)
