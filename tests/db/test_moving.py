"""Backups move libraries from SQLite to a server and back: every row, found by the same words, or nothing."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from core.errors import HarkError
from core.events import silent_reporter
from db.checking import check_library
from db.database import DATABASE_NAME, MARKER
from db.db_api import Library, remove_rows
from db.moving import Libraries
from db.records import AlignedUnit, Clip, LibrarySearch, NewClip
from pipeline.backup import back_up, restore
from tests.support.library_server import LibraryServer
from tests.support.sounds import noise

QUIET = silent_reporter()
TEXTS = ("hey compass", "don't go", "Über uns — 東京", "今日は天気")

Archived = tuple[Path, set[str], list[object]]


@pytest.fixture(autouse=True)
def some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy even few clips in several batches."""
    monkeypatch.setattr("db.moving.CLIPS", 7)


def fill(folder: Path, first: int) -> None:
    with Library(folder) as library:
        ids = library.add_clips(
            NewClip(
                noise(0.1, first + n),
                text.upper(), text, "en", "corpus", source=f"c:{n}", settings={"said": "a\0b", "n": n / 3},
            )
            for n, text in enumerate(TEXTS * 12)
        )  # fmt: skip
        library.delete_clips(ids[5:20])
        library.add_clips(
            [NewClip(np.full(160, 0.1), "go", "go", "en", "mined", parent_id=ids[1], start_s=0.0, end_s=0.01)]
        )
        library.alignments.add_emissions("ctc", [(ids[0], np.zeros((3, 4)))])
        library.alignments.replace("ctc", {ids[40]: [AlignedUnit("word", "hey", 0.1, 1 / 3, 0.9)]})


def content(folder: Path) -> list[object]:
    with Library(folder) as library:
        assert check_library(library, left_over_after_s=0).problems == ()
        clips: list[Clip] = list(library.iter_clips())
        ids = [clip.id for clip in clips]
        found = [library.search_ids(text) for text in (*TEXTS, "hey", "über", "天気")]
        assert all(found)
        alignments = library.alignments
        aligned = {clip_id: alignments.units(clip_id, "ctc", "word") for clip_id in alignments.aligned("ctc", ids)}
        heard, page = alignments.with_emission("ctc", ids), library.page(LibrarySearch(phrase="compass"), 9)
        return [clips, found, aligned, heard, page]


def test_libraries_move_to_a_server_and_back(
    tmp_path: Path, server: LibraryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    for number, folder in enumerate((first, first / "users" / "2")):
        fill(folder, 1000 * number)
    made = back_up(first, tmp_path / "a.zip", QUIET, Libraries(first))
    before = [content(first), content(first / "users" / "2")]

    with pytest.raises(HarkError, match="DATABASE_URL is not set"), Libraries(first).replaced_by(first, QUIET):
        pass
    monkeypatch.setenv("DATABASE_URL", server.url)
    others = server.libraries()
    assert content(first) == before[0], "a library with an SQLite file continues to use it"
    assert server.libraries() == others
    second = tmp_path / "second"
    restore(tmp_path / "a.zip", second, QUIET, server=Libraries(second))
    for folder, expected in zip((second, second / "users" / "2"), before):
        assert not (folder / DATABASE_NAME).exists() and (folder / MARKER).is_file()
        assert content(folder) == expected
    with Library(second) as library:
        (new,) = library.add_clips([NewClip(np.full(160, 0.2), "new", "new", "en", "corpus", source="c:new")])
        assert new > max(clip.id for clip in before[0][0]), "new ids continue the old ones"  # type: ignore[attr-defined]
        library.delete_clips([new])

    again = back_up(second, tmp_path / "b.zip", QUIET, Libraries(second))
    assert {file.path for file in again.files} == {file.path for file in made.files}
    monkeypatch.delenv("DATABASE_URL")
    third = tmp_path / "third"
    restore(tmp_path / "b.zip", third, QUIET)
    assert [content(third), content(third / "users" / "2")] == before
    with pytest.raises(HarkError, match="DATABASE_URL is not set"):
        back_up(second, tmp_path / "c.zip", QUIET, Libraries(second))
    assert not (tmp_path / "c.zip").exists(), "no backup without all libraries"


@pytest.fixture
def archived(tmp_path: Path, on_server: LibraryServer) -> Archived:
    """A library on the server that has a backup, the server's other libraries, and the library's content."""
    data, others = tmp_path / "data", on_server.libraries()
    fill(data, 0)
    back_up(data, tmp_path / "a.zip", QUIET, Libraries(data))
    return data, others, content(data)


def test_restore_saves_the_replaced_library_as_an_sqlite_file(
    tmp_path: Path, on_server: LibraryServer, archived: Archived
) -> None:
    data, others, before = archived
    with Library(data) as library:
        library.set_texts({1: ("Later.", "later")})
    assert len(on_server.libraries() - others) == 1
    _, aside = restore(tmp_path / "a.zip", data, QUIET, replace=True, server=Libraries(data))
    assert aside is not None and content(data) == before
    assert len(on_server.libraries() - others) == 1 and not (aside / MARKER).exists()
    with closing(sqlite3.connect(aside / DATABASE_NAME)) as raw:
        assert raw.execute("SELECT text_original FROM clip WHERE id = 1").fetchall() == [("Later.",)]
    remove_rows(data)
    assert on_server.libraries() == others


def test_a_library_that_cannot_be_moved_changes_nothing(
    tmp_path: Path, on_server: LibraryServer, archived: Archived
) -> None:
    data, others, before = archived
    with ZipFile(tmp_path / "a.zip") as archive:
        archive.extract(DATABASE_NAME, tmp_path / "staged" / "users" / "1")
        archive.extract(DATABASE_NAME, tmp_path / "staged" / "users" / "2")
    with closing(sqlite3.connect(tmp_path / "staged" / "users" / "2" / DATABASE_NAME)) as raw, raw:
        raw.execute("UPDATE clip SET parent_id = 4711 WHERE id = 3")
    with pytest.raises(HarkError) as raised, Libraries(data).replaced_by(tmp_path / "staged", QUIET):
        raise AssertionError("it was filled")
    assert "library check --repair" in raised.value.what_to_do
    assert len(on_server.libraries() - others) == 1 and content(data) == before


def test_a_failed_restore_leaves_no_rows_on_the_server(
    tmp_path: Path, on_server: LibraryServer, archived: Archived
) -> None:
    data, others, before = archived
    with ZipFile(tmp_path / "a.zip") as archive:
        archive.extract(DATABASE_NAME, tmp_path / "staged")
    with (
        pytest.raises(RuntimeError, match="it could not be committed"),
        Libraries(data).replaced_by(tmp_path / "staged", QUIET),
    ):
        assert len(on_server.libraries() - others) == 2
        (tmp_path / "staged").rename(tmp_path / "placed")
        raise RuntimeError("it could not be committed")
    assert len(on_server.libraries() - others) == 1 and content(data) == before


def test_a_library_deleted_during_a_backup_is_left_out(tmp_path: Path, on_server: LibraryServer) -> None:
    data = tmp_path / "data"
    for folder in (data, data / "users" / "2"):
        fill(folder, 0)
    others = on_server.libraries()

    class Slow(Libraries):
        def save(self, name: str, copy: Path) -> None:
            super().save(name, copy)
            remove_rows(data / "users" / "2")
            shutil.rmtree(data / "users" / "2", ignore_errors=True)

    made = back_up(data, tmp_path / "a.zip", QUIET, Slow(data))
    assert f"users/2/{DATABASE_NAME}" in made.left_out and DATABASE_NAME in {file.path for file in made.files}
    assert len(others - on_server.libraries()) == 1 and on_server.libraries() <= others, "and none is made again"
    assert not (data / "users" / "2").exists()


@pytest.mark.topology
def test_the_database_url_may_set_the_encoding(
    tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{postgresql_url}?client_encoding=latin1")
    fill(tmp_path, 0)
    assert content(tmp_path)
