"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from db.db_api import Library
from tests.support.library_server import ENGINES, LibraryServer
from tests.support.mounting import mount
from tests.support.servers import NEEDED, postgresql
from tests.support.slow_tests import LIST, Measuring, is_slow, listed, seconds_of_files, test_of

# Like the speech service. If torch's waiting threads spin, a test takes 172 s instead of 8 s on two busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HARK_SETTINGS_FILE"] = ""  # no .env of this machine reaches the tests
os.environ["HARK_NO_DOWNLOAD"] = "1"  # no run of the tests installs voices
# In memory where there is enough of it: on disk, thousands of small databases would wait for writes.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


LAB = Path(__file__).parent / "lab"  # ./hark test lab
TOPOLOGY = "test_topology.py"  # runs only if requested, like tests with one of these markers
ASKED_FOR = ("devices", "soak")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--measure", action="store_true", help="write how long slow tests took into tests/slow.txt")


def pytest_configure(config: pytest.Config) -> None:
    """Apply --measure, and let tests of a requested topology fail instead of being skipped without servers."""
    if "topology" in config.option.markexpr.split():
        os.environ[NEEDED] = "1"
    if config.getoption("measure", False) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Measuring())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore the tests of the lab unless the command names them."""
    if collection_path != LAB:
        return None
    named = ((config.invocation_params.dir / one.split("::")[0]).resolve() for one in config.args)
    return None if any(path.is_relative_to(LAB) for path in named) else True


def pytest_collection_finish() -> None:
    """Freeze imported and collected objects, so that garbage collections need not traverse them."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow tests, begin with the longest files, and leave out those that must be requested."""
    for item in items:
        marker = "topology" if item.path.name == TOPOLOGY else next(filter(item.get_closest_marker, ASKED_FOR), None)
        if marker is not None and marker not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason=f"takes minutes: ./hark test -m {marker}"))
    seconds = listed(LIST.read_text())
    files = seconds_of_files(seconds)
    items.sort(key=lambda item: -files[test_of(item.nodeid).split("::")[0]])
    for item in items:
        if is_slow(test_of(item.nodeid), seconds):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore signal handlers after each test: the command line leaves signals ignored, also in later children."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Store the portal's database in a file: in memory, threads do not wait for each other's writes."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = tmp_path_factory.mktemp("database") / "portal.sqlite3"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real audio outside of the repository: ``../shared/data``, or the folder that HARK_SHARED names."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("HARK_SHARED") or repository.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared audio at {folder} (HARK_SHARED names another folder)")
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own empty data folder, which ``core.data_folder`` returns."""
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database of PostgreSQL. Each test's library has a schema of its own in it."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=ENGINES[1:])
def server(request: pytest.FixtureRequest) -> LibraryServer:
    """The server for libraries."""
    return LibraryServer(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def on_server(server: LibraryServer, monkeypatch: pytest.MonkeyPatch) -> LibraryServer:
    """Make new libraries on that server."""
    monkeypatch.setenv("DATABASE_URL", server.url)
    return server


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of new libraries."""
    if request.param != "sqlite":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgresql_url"))
    return str(request.param)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder on a disk of 1 MB, or of the size [MB] in the test's parameter."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={getattr(request, 'param', 1)}m", "tmpfs", str(folder)):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty clip library."""
    with Library(tmp_path / "data") as opened:
        yield opened
