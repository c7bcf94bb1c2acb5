"""``admin storage`` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core import file_store
from tests.support.command_line_samples import error_of
from tests.support.s3_server import s3_server


def test_what_is_here_alone_is_put_into_the_store(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "data" / "clips" / "ab" / "abcd.flac"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"sound")
    with s3_server() as server:
        monkeypatch.setenv(file_store.STORAGE, server.url)
        assert main("admin", "storage", "--json", "--data", str(tmp_path / "data")) == 0
        assert json.loads(capsys.readouterr().out) == {"files": 1, "put": 1}
        assert server.files == {"clips/ab/abcd.flac": b"sound"}
        assert main("admin", "storage", "--json", "--data", str(tmp_path / "data")) == 0
        assert json.loads(capsys.readouterr().out) == {"files": 1, "put": 0}


def test_without_a_store_it_says_how_to_have_one(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(file_store.STORAGE, raising=False)
    assert main("admin", "storage", "--json", "--data", str(tmp_path)) == 2
    assert "STORAGE_URL" in json.dumps(error_of(capsys.readouterr().out))
