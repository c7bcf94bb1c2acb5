from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import read_audio, write_audio
from core.data_folder import REPOSITORY, atomic_path, data_folder, remove_unfinished, storage_error, storing
from core.errors import HarkError


def test_the_data_folder_is_in_the_repository_or_at_hark_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARK_DATA", raising=False)
    assert data_folder() == REPOSITORY / "data"
    monkeypatch.setenv("HARK_DATA", "")
    assert data_folder() == REPOSITORY / "data"
    monkeypatch.setenv("HARK_DATA", str(tmp_path / "here"))
    assert data_folder() == tmp_path / "here"
    monkeypatch.setenv("HARK_DATA", "~/hark")
    assert data_folder() == Path.home().resolve() / "hark"


def test_a_file_appears_only_when_complete_in_new_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "clip.flac"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".flac"
        write_audio(temporary, np.full(1_000, 0.25))
        assert not target.exists()
    assert len(read_audio(target)) == 1_000
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(target.parent.iterdir()) == [target]
    with atomic_path(target, 0o600) as temporary:
        temporary.write_text("secret")
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_only_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_block_that_removes_its_file_fails_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.bin") as temporary:
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_full_disk_raises_enospc_and_leaves_no_file(small_disk: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 800_000)
    with pytest.raises(OSError) as caught, atomic_path(small_disk / f"clip{suffix}") as temporary:
        write_audio(temporary, noise)
    assert caught.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == []
    shown = storage_error(caught.value, "saving clips")
    assert "disk is full" in shown.what
    assert "saving clips" in shown.what
    assert "HARK_DATA" in shown.what_to_do
    with atomic_path(small_disk / f"clip{suffix}") as temporary:  # what fits can still be written
        write_audio(temporary, noise[:10_000])
    assert len(read_audio(small_disk / f"clip{suffix}")) == 10_000


def test_a_read_only_disk_is_reported(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError) as caught, atomic_path(small_disk / "clip.wav"):
        pass
    assert caught.value.errno == errno.EROFS
    assert "no write permission" in storage_error(caught.value, "saving clips").what


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "no write permission"),
        (errno.EPERM, "no write permission"),
        (errno.EROFS, "no write permission"),
        (errno.EIO, "could not be written"),
    ],
)
def test_every_storage_error_has_what_why_and_what_to_do(number: int, word: str, tmp_path: Path) -> None:
    error = storage_error(OSError(number, os.strerror(number), str(tmp_path / "clip.wav")), "saving clips")
    assert word in error.what
    assert os.strerror(number) in error.why
    assert "clip.wav" in error.why
    assert error.what_to_do
    assert storage_error(OSError(number, os.strerror(number)), "saving clips").why


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ETIMEDOUT])  # the last: an unreachable disk
def test_a_disk_error_becomes_a_hark_error(number: int) -> None:
    with pytest.raises(HarkError) as caught, storing("saving clips"):
        raise OSError(number, os.strerror(number))
    assert caught.value.as_dict() == storage_error(OSError(number, os.strerror(number)), "saving clips").as_dict()


def test_only_unfinished_files_are_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("audio.flac", ".hidden", "a-85cdnc0o.flac", ".audio-85CDNC0O.flac")]
    with atomic_path(tmp_path / "audio.flac") as temporary:
        temporary.write_bytes(b"x")
        left = temporary.with_name(temporary.name)
        shutil.copy(temporary, tmp_path / "copy")
    shutil.move(tmp_path / "copy", left)
    for path in kept:
        path.write_bytes(b"x")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in kept}
