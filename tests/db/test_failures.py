"""A full disk, a read-only folder, a damaged, foreign or newer database: three sentences, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.errors import HarkError
from db.checking import check_library
from db.database import SCHEMA_VERSION
from db.db_api import Library
from tests.support.library_clips import numbered_clip
from tests.support.mounting import mount


def test_a_full_disk_loses_no_finished_batch(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.db_api.BATCH_CLIPS", 4)
    with Library(small_disk) as library:
        with pytest.raises(HarkError, match="disk is full"):
            library.add_clips(numbered_clip(number, seconds=1) for number in range(200))
        kept = library.stats().clips
        assert 4 <= kept < 100 and kept % 4 == 0
        report = check_library(library, left_over_after_s=0)
        assert report.problems == (), "the failed batch removed its files"
        with pytest.raises(HarkError):
            library.add_clips(numbered_clip(number, seconds=10) for number in range(200, 203))
        assert check_library(library, left_over_after_s=0).problems == ()
    with Library(small_disk) as again:
        assert again.stats().clips == kept


def test_a_disk_full_from_the_start_is_reported(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(HarkError, match="disk is full"):
        Library(small_disk / "data")
    (small_disk / "ballast").unlink()
    with Library(small_disk / "data") as library:
        library.add_clips([numbered_clip(1)])
        assert check_library(library, left_over_after_s=0).problems == ()


def test_a_read_only_folder_is_reported(small_disk: Path) -> None:
    with Library(small_disk) as library:
        library.add_clips([numbered_clip(1)])
        library.close()
        assert mount("-o", "remount,ro", str(small_disk))
        with pytest.raises(HarkError, match="no write permission"):
            library.add_clips([numbered_clip(2)])
    for folder in (small_disk, small_disk / "new"):
        with pytest.raises(HarkError, match="no write permission"):
            Library(folder)
    assert mount("-o", "remount,rw", str(small_disk))
    with Library(small_disk) as library:
        library.add_clips([numbered_clip(2)])
        assert library.stats().clips == 2 and check_library(library, left_over_after_s=0).problems == ()


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_not_a_database_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "library.sqlite3").write_bytes(content)
    with pytest.raises(HarkError) as raised:
        Library(tmp_path)
    assert "damaged" in raised.value.what and "library.sqlite3" in raised.value.why
    assert (tmp_path / "library.sqlite3").read_bytes() == content, "nothing is overwritten"


def test_a_database_with_overwritten_pages_is_reported_as_damaged(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        library.add_clips(numbered_clip(number, 0.01) for number in range(300))
    pages = bytearray((tmp_path / "library.sqlite3").read_bytes())
    pages[4096:] = b"\xa5" * (len(pages) - 4096)
    (tmp_path / "library.sqlite3").write_bytes(bytes(pages))
    with pytest.raises(HarkError, match="damaged"), Library(tmp_path) as library:
        library.add_clips([numbered_clip(1000)])
    with pytest.raises(HarkError), Library(tmp_path) as library:
        check_library(library)


def test_a_database_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    Library(tmp_path).close()
    with sqlite3.connect(tmp_path / "library.sqlite3") as raw:
        raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(HarkError) as raised:
        Library(tmp_path)
    assert "newer" in raised.value.what and "Update" in raised.value.what_to_do


def test_a_database_of_another_program_is_rejected(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "library.sqlite3") as raw:
        raw.execute("CREATE TABLE notes (text)")
    with pytest.raises(HarkError, match="not one of Hark's clip libraries"):
        Library(tmp_path)


def test_a_locked_library_can_be_read_but_not_written(
    tmp_path: Path, locked: Callable[[Path], AbstractContextManager[None]]
) -> None:
    Library(tmp_path).close()
    with Library(tmp_path) as library:
        with locked(tmp_path):
            with pytest.raises(HarkError, match="in use"):
                library.add_clips([numbered_clip(1)])
            assert library.stats().clips == 0, "readers need not wait"
        library.add_clips([numbered_clip(1)])
        assert check_library(library, left_over_after_s=0).problems == ()
