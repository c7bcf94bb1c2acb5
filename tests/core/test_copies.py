"""Copies on a machine that does not share the portal's data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.copies import LOCK, MARK, begin, copies_of
from core.errors import HarkError


def filled(data: Path) -> Path:
    for name in (
        "clips/ab/a.flac", "emissions/x/1.npy", "audio/1/audio.flac", "jobs/run/plan.json", "tmp/speech-run/a.wav",
        "library.postgresql", "models/run/run.zip", "models/whisper/model.bin", "log/job-1.log",
    ):  # fmt: skip
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).touch()
    return data


def left(data: Path) -> list[str]:
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file() and path.name != LOCK)


def apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's own data folder, as it begins in it."""
    monkeypatch.setenv("HARK_DATA", str(folder))
    monkeypatch.delenv("HARK_INSTALLATION", raising=False)
    monkeypatch.setenv("HARK_APART", "1")
    begin(folder)


STAY = ["log/job-1.log", "models/whisper/model.bin"]


def test_they_go_with_the_last_job_of_their_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart(tmp_path, monkeypatch)
    all_of_it = left(filled(tmp_path))
    with copies_of(tmp_path):
        with copies_of(tmp_path):
            pass
        assert left(tmp_path) == all_of_it, "the other job reads them"
    assert left(tmp_path) == [MARK, *STAY]


def test_they_stay_for_whoever_goes_on_until_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart(tmp_path, monkeypatch)
    users = tmp_path / "users" / "3"
    all_of_it = left(filled(users))
    with pytest.raises(KeyboardInterrupt), copies_of(users):
        raise KeyboardInterrupt
    assert left(users) == all_of_it
    with copies_of(users):
        begin(tmp_path)
        assert left(users) == all_of_it, "another worker that starts beside"
    filled(users)
    begin(tmp_path)
    assert left(users) == STAY


def test_a_folder_that_is_not_the_worker_s_own_is_refused(tmp_path: Path) -> None:
    all_of_it = left(filled(tmp_path / "portal"))
    with pytest.raises(HarkError, match="not a worker's own"):
        begin(tmp_path / "portal")
    (tmp_path / "served" / "portal").mkdir(parents=True)
    with pytest.raises(HarkError, match="It has portal"):
        begin(tmp_path / "served")
    assert left(tmp_path / "portal") == all_of_it
    (tmp_path / "engines" / "engines").mkdir(parents=True)  # that were set up there before
    begin(tmp_path / "engines")
    assert (tmp_path / "engines" / MARK).is_file()


def test_the_portal_s_own_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    monkeypatch.delenv("HARK_INSTALLATION", raising=False)
    all_of_it = left(filled(tmp_path))
    for said in ("", "1"):  # who sets it by hand has no folder that a worker has taken
        monkeypatch.setenv("HARK_APART", said)
        with copies_of(tmp_path):
            pass
        assert left(tmp_path) == all_of_it
