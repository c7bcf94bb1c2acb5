"""Fixtures that any test may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.db_api import Library
from tests.support.mounting import mount

# As the speech service has it: with threads of torch that spin while they wait, a test took 172 s on two busy cores
# instead of 8.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HARK_SETTINGS_FILE"] = ""  # no .env of this machine reaches the tests


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real audio that is no part of the repository: ``../shared/data``, or the folder that HARK_SHARED names."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("HARK_SHARED") or repository.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared audio at {folder} (HARK_SHARED names another folder)")
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test's own, the one that ``core.data_folder`` gives."""
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty clip library."""
    with Library(tmp_path / "data") as opened:
        yield opened
