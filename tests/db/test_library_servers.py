"""Libraries on a server: a schema for each, the same matches as on SQLite, and a server that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data_folder import REPOSITORY
from core.errors import HarkError
from db.checking import check_library
from db.database import DATABASE_NAME, MARKER, SCHEMA_VERSION
from db.db_api import Library, library_exists, remove_rows
from tests.support.library_clips import new_clip
from tests.support.library_server import LibraryServer
from tests.support.processes import free_port
from tests.support.servers import PASSWORD


def test_libraries_are_separate_and_an_sqlite_file_stays_in_use(
    tmp_path: Path, server: LibraryServer, monkeypatch: Any
) -> None:
    with Library(tmp_path / "old") as old:
        old.add_clips([new_clip("of old")])
    monkeypatch.setenv("DATABASE_URL", server.url)
    assert not library_exists(tmp_path / "a")
    with Library(tmp_path / "a") as a, Library(tmp_path / "b") as b, Library(tmp_path / "old") as old:
        assert a.add_clips([new_clip("a"), new_clip("again")]) == [1, 2] and b.add_clips([new_clip("b")]) == [1]
        assert [c.text_normalized for c in a.iter_clips()] == ["a", "again"]
        assert [c.text_normalized for c in b.iter_clips()] == ["b"]
        assert [c.text_normalized for c in old.iter_clips()] == ["of old"]
    assert server.called(tmp_path / "a") != server.called(tmp_path / "b") and library_exists(tmp_path / "a")
    assert not (tmp_path / "a" / DATABASE_NAME).exists()
    assert not (tmp_path / "old" / MARKER).exists()
    (tmp_path / "a").rename(tmp_path / "moved")
    with Library(tmp_path / "moved") as moved:
        assert moved.stats().clips == 2


TEXTS = st.text(alphabet=st.sampled_from("aA bBé'’-.ßİıΣς ⅷ²9_\u0301\u200d\ufeff😀한あ東กk\u212a"), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=8), phrases=st.lists(TEXTS, min_size=1, max_size=8))
def test_search_gives_the_same_results_as_sqlite(
    two: tuple[Library, Library], texts: list[str], phrases: list[str]
) -> None:
    for library in two:
        library.delete_clips([c.id for c in library.iter_clips()])
        library.add_clips([new_clip(text) for text in texts])
    found = [
        [[c.text_normalized for c in library.search(phrase, 99)] for phrase in (*phrases, *texts)] for library in two
    ]
    assert found[0] == found[1]


@pytest.fixture
def two(tmp_path: Path, server: LibraryServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library in an SQLite file and one on a server."""
    with Library(tmp_path / "file") as file:
        monkeypatch.setenv("DATABASE_URL", server.url)
        with Library(tmp_path / "server") as served:
            yield file, served


def test_very_long_texts_are_found(two: tuple[Library, Library]) -> None:
    words = " ".join(f"word{number}" for number in range(30_000))
    for library in two:
        library.add_clips(
            [new_clip(f"{words} hey compass {'the ' * 500} end"), new_clip(f"{'x' * 5000} y"), new_clip("hey the end")]
        )
        assert [c.id for c in library.search("hey compass", 9)] == [1]
        assert [c.id for c in library.search("the end", 9)] == [1, 3]
        assert [c.id for c in library.search(f"{'x' * 5000} y", 9)] == [2]
        assert library.search("word29999 compass", 9) == [] and check_library(library, left_over_after_s=0).ok


FIRST = """
import sys
from pathlib import Path
from db.db_api import Library
from tests.support.library_clips import new_clip
sys.stdin.readline()
with Library(Path(sys.argv[1])) as library:
    library.add_clips([new_clip("t", request_id=sys.argv[2])])
"""


def test_processes_opening_a_new_library_at_the_same_time_share_it(tmp_path: Path, on_server: LibraryServer) -> None:
    command = [sys.executable, "-c", FIRST, str(tmp_path / "data")]
    processes = [
        subprocess.Popen([*command, str(number)], cwd=REPOSITORY, stdin=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with Library(tmp_path / "data") as library:
        assert library.request_ids_present("0123") == set("0123")


def test_a_dropped_connection_is_reopened(tmp_path: Path, on_server: LibraryServer) -> None:
    with Library(tmp_path) as library:
        on_server.end_connections()
        assert library.add_clips([new_clip("a")]) == [1]
        on_server.end_connections()
        assert library.stats().clips == 1

        gone = pytest.raises(HarkError, match="no connection to PostgreSQL")
        with gone, library.tables.writing("writing") as connection:
            connection.execute("UPDATE clip SET state = 'rejected'")
            on_server.end_connections()
            connection.execute("SELECT 1")
        assert library.stats().rejected == 0, "an interrupted transaction stores nothing"
        assert library.add_clips([new_clip("c")]) and check_library(library, left_over_after_s=0).problems == ()


def test_a_restarting_server_is_awaited(tmp_path: Path, server: LibraryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.started() as (url, process):
        monkeypatch.setenv("DATABASE_URL", url)
        with Library(tmp_path) as library:
            for ids in ([1], [2]):
                process.stop()
                again = threading.Timer(1.0, process.start)
                again.start()
                assert library.stats().clips == ids[0] - 1
                with Library(tmp_path) as another:
                    assert another.add_clips([new_clip("a")]) == ids
                again.join()


def test_a_server_that_is_starting_up_is_retried(
    tmp_path: Path, on_server: LibraryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server reports that it is starting up, and has started at the next request."""
    import psycopg

    connect, tries = psycopg.connect, []

    def connected(**said: Any) -> Any:
        tries.append(said)
        if len(tries) == 1:
            raise psycopg.OperationalError("FATAL:  the database system is starting up")
        return connect(**said)

    monkeypatch.setattr(psycopg, "connect", connected)
    with Library(tmp_path) as library:
        assert library.add_clips([new_clip("a")]) == [1] and len(tries) >= 2


def test_a_forked_process_opens_its_own_connection(tmp_path: Path, on_server: LibraryServer) -> None:
    with Library(tmp_path) as library:
        library.add_clips([new_clip("a")])
        with library.tables.writing("writing") as connection:
            connection.execute("UPDATE clip SET state = 'rejected'")
            child = os.fork()
            if not child:
                os._exit(42 if library.stats().rejected == 0 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42, "it does not see an unfinished transaction"
        assert library.stats().rejected == 1


def refused(folder: Path) -> HarkError:
    with pytest.raises(HarkError) as raised:
        Library(folder)
    assert PASSWORD not in str(raised.value) and PASSWORD.replace(" ", "%20") not in str(raised.value)
    return raised.value


def test_a_library_that_cannot_be_opened_is_reported(
    tmp_path: Path, on_server: LibraryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library(tmp_path).close()
    called = on_server.called(tmp_path)
    on_server.run(f"UPDATE {called}.library SET version = {SCHEMA_VERSION + 1}")
    assert "newer Hark" in refused(tmp_path).what
    on_server.drop(called)
    missing = refused(tmp_path)
    assert "does not have this clip library" in missing.what and called in missing.why
    assert on_server.called(tmp_path) == called, "no empty library replaces it"
    (tmp_path / MARKER).write_text("public; DROP TABLE clip")
    assert "does not contain the name" in refused(tmp_path).why
    (tmp_path / MARKER).write_text(called)
    monkeypatch.setenv("DATABASE_URL", on_server.url.replace("@", "x@"))
    assert "password" in refused(tmp_path).why
    monkeypatch.setattr("db.postgresql.RESTARTS_S", 0.0)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://hark@127.0.0.1:{free_port()}/hark")
    assert "no connection to PostgreSQL" in refused(tmp_path).what
    monkeypatch.setenv("DATABASE_URL", "mysql://hark@db/hark")
    assert "cannot be used" in refused(tmp_path).what
    monkeypatch.delenv("DATABASE_URL")
    assert "DATABASE_URL is not set" in refused(tmp_path).why
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as where it is not installed
    assert "psycopg is not installed" in refused(tmp_path).why


def test_mariadb_and_mysql_are_not_supported_for_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://hark@db/hark")
    with Library(tmp_path) as library:
        assert library.add_clips([new_clip("a")]) == [1]
    assert (tmp_path / DATABASE_NAME).is_file()


def test_removing_a_library_removes_its_rows_permanently(tmp_path: Path, on_server: LibraryServer) -> None:
    with Library(tmp_path) as library:
        library.add_clips([new_clip("a")])
    called = on_server.called(tmp_path)
    remove_rows(tmp_path)
    remove_rows(tmp_path)
    assert called not in on_server.libraries()
    assert not library_exists(tmp_path)
