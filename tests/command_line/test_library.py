"""``library``: import, export, check."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command_line_samples import Main, Shown, as_json, babble, error_of


@pytest.fixture
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(3):
        audio = np.roll(babble(1.0 + number), number)
        soundfile.write(folder / f"{number}.wav", audio, 16_000)
        (folder / f"{number}.txt").write_text(f"this is sentence number {number}")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "LICENSE").write_text("CC-BY-4.0")
    return folder


def test_recordings_go_in_and_come_out(main: Main, capsys: Shown, corpus: Path, tmp_path: Path) -> None:
    assert main("library", "stats") == 0
    assert "The library is empty" in capsys.readouterr().out
    imported = as_json(main, capsys, "library", "import", str(corpus))
    assert imported["added"] == 3 and sum(imported["skipped"].values()) == 1 and "CC-BY" in imported["licence"]
    again = as_json(main, capsys, "library", "import", str(corpus))
    assert again["added"] == 0 and again["already_there"] == 3
    stats = as_json(main, capsys, "library", "stats")
    assert stats["clips"] == 3 and stats["hours"] == pytest.approx(6 / 3600)
    assert main("library", "stats") == 0
    assert "corpus" in capsys.readouterr().out
    exported = as_json(main, capsys, "library", "export", str(tmp_path / "out"))
    assert exported["clips"] == 3 and len(Path(exported["manifest"]).read_text().splitlines()) == 3


def test_licence_and_language_of_an_import(main: Main, capsys: Shown, corpus: Path) -> None:
    words = ("library", "import", str(corpus), "--licence", "CC0-1.0", "--language", "de", "--limit-hours", "0.0005")
    imported = as_json(main, capsys, *words)
    assert imported["licence"] == "CC0-1.0" and imported["limit_reached"] and imported["added"] < 3
    assert as_json(main, capsys, "library", "stats")["by_language"] == {"de": imported["added"]}


def test_check_and_repair(main: Main, capsys: Shown, corpus: Path, data_dir: Path) -> None:
    as_json(main, capsys, "library", "import", str(corpus))
    next((data_dir / "clips").rglob("*.flac")).unlink()
    report = as_json(main, capsys, "library", "check", code=2)
    assert not report["ok"] and report["counts"] == {"row without file": 1}
    assert main("library", "check") == 2
    assert "library check --repair" in capsys.readouterr().out.splitlines()[-1]
    assert as_json(main, capsys, "library", "check", "--repair")["ok"]
    next((data_dir / "clips").rglob("*.flac")).unlink()
    assert as_json(main, capsys, "library", "check", "--repair")["ok"]  # the same by another name
    assert as_json(main, capsys, "library", "check", "--quick")["clips"] == 1


def test_a_damaged_library(main: Main, capsys: Shown, data_dir: Path) -> None:
    (data_dir / "library.sqlite3").write_bytes(b"this is no database" * 100)
    for command in ("stats", "check"):
        assert main("library", command, "--json") == 2
        error_of(capsys.readouterr().out)
    assert main("doctor", "--json") == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert next(f for f in findings if f["name"] == "library")["status"] == "broken"


@pytest.mark.parametrize(
    "words",
    [
        ["library", "import", "nowhere"],
        ["library", "import", "{empty}"],
        ["library", "import-peoples-speech", "--from", "nowhere"],
    ],
)
def test_what_cannot_be_done_is_explained(main: Main, capsys: Shown, tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(*(word.format(empty=empty) for word in words), "--json") == 2
    error_of(capsys.readouterr().out)
