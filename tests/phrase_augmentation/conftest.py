"""Keep what the tests write out of the repository, and the phones of the vocabulary between the tests of one run."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def session_data(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARK_DATA", str(tmp_path_factory.mktemp("data")))
        yield
