"""``record``: recordings from a folder, their problems, and their detection."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import record as recording
from core.audio_file import write_audio
from db.db_api import Library
from tests.support.command_line_samples import Cli
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two of the phrase, one of something else, one without speech."""
    folder = tmp_path_factory.mktemp("recordings")
    write_audio(folder / "one.wav", spoken("smart mirror"))
    write_audio(folder / "two.wav", 0.5 * spoken("smart mirror", 1.5))
    write_audio(folder / "wrong.wav", spoken("good evening"))
    write_audio(folder / "silent.wav", np.zeros(32000, np.float32))
    yield folder


def test_a_folder_of_recordings_is_stored_for_the_test_and_scored(
    cli: Cli, recordings: Path, data_dir: Path, tmp_path: Path
) -> None:
    bundle = keyword_hmm_bundle(tmp_path / "bundle", "smart mirror", threshold=0.2)
    result = cli.json("record", "Smart", "Mirror", "--from", str(recordings), "--bundle", str(bundle))
    assert (result["phrase"], result["role"], result["kept"], result["heard"]) == ("smart mirror", "test", 3, 2)
    assert {Path(row["file"]).name: row["heard"] for row in result["takes"]} == {
        "one.wav": True, "two.wav": True, "wrong.wav": False
    }  # fmt: skip
    again = cli.json("record", "smart mirror", "--from", str(recordings))
    assert again["kept"] == 3 and "heard" not in again
    with Library(data_dir) as library:
        clips = list(library.iter_clips())
    assert len(clips) == 3, "a recording is stored once"
    assert {(clip.speaker, clip.settings["role"], clip.licence) for clip in clips} == {("user-1", "test", "private")}


def test_all_recordings_of_a_folder_are_used_except_damaged_and_long_ones(cli: Cli, tmp_path: Path) -> None:
    for number in range(11):
        write_audio(tmp_path / f"{number}.wav", (1 - number / 20) * spoken("smart mirror"))
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    write_audio(tmp_path / "endless.wav", np.tile(spoken("smart mirror"), 16))
    result = cli.json("record", "smart mirror", "--from", str(tmp_path))
    assert result["kept"] == 11
    about = [line for line in cli.err.splitlines() if "broken.wav" in line or "endless.wav" in line]
    assert len(about) == 2 and "more than 15 s of speech" in about[1], cli.err


def test_count_role_and_speaker_are_options(cli: Cli, recordings: Path, data_dir: Path) -> None:
    words = ["--count", "1", "--role", "train", "--speaker", "Ada Lovelace"]
    result = cli.json("record", "smart mirror", "--from", str(recordings), *words)
    assert result["kept"] == 1
    with Library(data_dir) as library:
        (clip,) = library.iter_clips()
    assert clip.speaker == "Ada Lovelace" and clip.settings["role"] == "train"
    for words, speaker in (["--speaker", "Ada King"], "Ada King"), ([], "Ada King"):
        cli("record", "smart mirror", "--from", str(recordings), "--count", "1", *words)
        with Library(data_dir) as library:
            assert [clip.speaker for clip in library.iter_clips()] == [speaker], "also of a stored recording"


@pytest.mark.parametrize("first, then", [("test", "train"), ("train", "test")])
def test_stored_recordings_get_the_new_role(cli: Cli, recordings: Path, data_dir: Path, first: str, then: str) -> None:
    command = ("record", "smart mirror", "--from", str(recordings), "--role")
    cli.json(*command, first)
    result = cli.json(*command, then)
    assert (result["role"], result["kept"]) == (then, 3)
    with Library(data_dir) as library:
        assert [clip.settings["role"] for clip in library.iter_clips()] == [then] * 3


def test_a_recording_stored_for_another_phrase_is_not_counted(cli: Cli, recordings: Path) -> None:
    cli.json("record", "good evening", "--from", str(recordings))
    assert cli.json("record", "smart mirror", "--from", str(recordings))["kept"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("🙂", "--from", "."),
        ("smart mirror", "--from", "no such folder"),
        ("smart mirror", "--from", "EMPTY"),
        ("smart mirror", "--from", "SILENT"),
        ("smart mirror", "--from", "RECORDINGS", "--bundle", "none.zip"),
    ],
)
def test_invalid_requests_are_rejected(cli: Cli, recordings: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    write_audio(tmp_path / "silent.wav", np.zeros(32000, np.float32))
    places = {"EMPTY": str(tmp_path / "empty"), "SILENT": str(tmp_path), "RECORDINGS": str(recordings)}
    cli.refused("record", *(places.get(word, word) for word in arguments))


def test_without_sounddevice_the_error_explains_how_to_install_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # as where it is not installed
    advice = cli.refused("record", "smart mirror")["what_to_do"]
    assert "sounddevice" in advice and "--from" in advice


def test_the_microphone_records_the_requested_number_of_takes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    asked: list[int] = []

    class Device:
        PortAudioError = RuntimeError

        @staticmethod
        def rec(samples: int, rate: int, **settings: Any) -> np.ndarray:
            asked.append(samples)
            return np.resize(spoken("smart mirror", 1.0 + 0.01 * len(asked)), (samples, 1))

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return "\n"

    monkeypatch.setitem(sys.modules, "sounddevice", Device())  # type: ignore[arg-type]
    monkeypatch.setattr(recording, "WALK_S", 0.0)
    assert "terminal" in cli.refused("record", "smart mirror", "--count", "3")["why"]
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert cli.json("record", "smart mirror", "--count", "3")["kept"] == 3 and len(asked) == 3
    with Library(data_dir) as library:
        assert len({clip.settings["hint"] for clip in library.iter_clips()}) == 3


@pytest.mark.parametrize("wrong", [("--count", "0"), ("--count", "many"), ("--role", "both"), ()])
def test_invalid_options_are_rejected(cli: Cli, wrong: tuple[str, ...]) -> None:
    cli.refused("record", *(("smart mirror", *wrong) if wrong else ()))
