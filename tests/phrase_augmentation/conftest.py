"""Redirect files that tests write, and share the phones of the vocabulary between the tests of a run."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def session_data(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARK_DATA", str(tmp_path_factory.mktemp("data")))
        yield
