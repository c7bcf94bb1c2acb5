"""The table of the kinds of jobs."""

from __future__ import annotations

from inspect import signature
from pkgutil import resolve_name

import pytest

from pipeline.jobs import KINDS, Kind


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_names_an_existing_function(kind: Kind) -> None:
    assert list(signature(resolve_name(kind.function)).parameters) == ["spec", "data", "reporter"]
