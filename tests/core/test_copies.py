"""Copies on a machine that does not share the portal's data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.copies import copies_of


def filled(data: Path) -> Path:
    for name in ("clips/ab/a.flac", "emissions/x/1.npy", "audio/1/audio.flac", "jobs/run/plan.json",
                 "models/run/run.zip", "models/whisper/model.bin", "log/job-1.log"):  # fmt: skip
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).touch()
    return data


def left(data: Path) -> list[str]:
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())


def test_they_go_with_the_last_job_of_their_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_APART", "1")
    all_of_it = left(filled(tmp_path))
    with copies_of(tmp_path):
        with copies_of(tmp_path):
            pass
        assert left(tmp_path) == sorted([*all_of_it, "copies.lock"]), "the other job reads them"
    assert left(tmp_path) == ["copies.lock", "log/job-1.log", "models/whisper/model.bin"]


def test_they_stay_for_whoever_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_APART", "1")
    all_of_it = left(filled(tmp_path))
    with pytest.raises(KeyboardInterrupt), copies_of(tmp_path):
        raise KeyboardInterrupt
    assert left(tmp_path) == sorted([*all_of_it, "copies.lock"])


def test_the_portal_s_own_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARK_APART", raising=False)
    all_of_it = left(filled(tmp_path))
    with copies_of(tmp_path):
        pass
    assert left(tmp_path) == all_of_it
