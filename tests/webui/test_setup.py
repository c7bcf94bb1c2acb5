"""Before the portal starts: who may look into its data, and what is said of a damaged key or database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.data_folder import keep_private
from core.errors import HarkError
from tests.support.programs import prepared
from webui.secret import secret_key


def test_nobody_else_looks_into_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "users").mkdir(parents=True)
    data.chmod(0o755)  # as an earlier version left it
    assert prepared(data) == "ready\n"
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_elses_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    keep_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00" * 30, b"short", b"a" * 20 + b"\x00" * 40])
def test_a_damaged_key_is_said_and_not_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(HarkError, match="secret key is damaged") as caught:
        secret_key(path)
    assert "delete it" in caught.value.what_to_do
    path.unlink()
    made = secret_key(path)
    assert len(made) > 60 and secret_key(path) == made and path.stat().st_mode & 0o777 == 0o600


def test_it_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "secret.key").write_bytes(b"\n")
    assert "secret key is damaged" in prepared(tmp_path)


def test_a_damaged_database_names_what_can_be_done(tmp_path: Path) -> None:
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "portal.sqlite3").write_bytes(b"no database at all" * 1000)
    said = prepared(tmp_path)
    assert "cannot be used" in said and "a copy of the data folder" in said
