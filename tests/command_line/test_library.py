"""``library``: import, export, check."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.support.command_line_samples import Cli
from tests.support.sounds import noise


@pytest.fixture
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", noise(1.0 + number, number), 16_000)
        (folder / f"{number}.txt").write_text(f"this is sentence number {number}")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "LICENSE").write_text("CC-BY-4.0")
    return folder


def test_recordings_are_imported_and_exported(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    assert "The library is empty" in cli("library", "stats")
    imported = cli.json("library", "import", str(corpus))
    assert imported["added"] == 3 and sum(imported["skipped"].values()) == 1 and "CC-BY" in imported["licence"]
    again = cli.json("library", "import", str(corpus))
    assert again["added"] == 0 and again["already_there"] == 3
    stats = cli.json("library", "stats")
    assert stats["clips"] == 3 and stats["hours"] == pytest.approx(6 / 3600)
    assert "corpus" in cli("library", "stats")
    exported = cli.json("library", "export", str(tmp_path / "out"))
    assert exported["clips"] == 3 and len(Path(exported["manifest"]).read_text().splitlines()) == 3


def test_an_import_takes_licence_language_and_limit(cli: Cli, corpus: Path) -> None:
    words = ("library", "import", str(corpus), "--licence", "CC0-1.0", "--language", "de", "--limit-hours", "0.0005")
    imported = cli.json(*words)
    assert imported["licence"] == "CC0-1.0" and imported["limit_reached"] and imported["added"] < 3
    assert cli.json("library", "stats")["by_language"] == {"de": imported["added"]}


def test_importing_again_sets_a_licence_that_was_unknown(cli: Cli, corpus: Path) -> None:
    (corpus / "LICENSE").unlink()
    for licence, stored in (("", "unknown"), ("CC0-1.0", "CC0-1.0"), ("CC-BY-4.0", "CC0-1.0")):
        cli("library", "import", str(corpus), *(["--licence", licence] if licence else []))
        assert ("keep their language" in cli.err) == bool(licence)
        assert cli.json("library", "stats")["by_licence"] == {stored: 3}


def test_check_reports_and_repairs_missing_files(cli: Cli, corpus: Path, data_dir: Path) -> None:
    cli.json("library", "import", str(corpus))
    next((data_dir / "clips").rglob("*.flac")).unlink()
    report = cli.json("library", "check", code=2)
    assert not report["ok"] and report["counts"] == {"row without file": 1}
    assert "library check --repair" in cli("library", "check", code=2).splitlines()[-1]
    assert cli.json("library", "check", "--repair")["ok"]
    next((data_dir / "clips").rglob("*.flac")).unlink()
    assert cli.json("library", "check", "--repair")["ok"]  # the same by another name
    assert cli.json("library", "check", "--quick")["clips"] == 1


def test_a_damaged_library_is_reported(cli: Cli, data_dir: Path) -> None:
    (data_dir / "library.sqlite3").write_bytes(b"this is no database" * 100)
    for command in ("stats", "check"):
        cli.refused("library", command)
    findings = cli.json("doctor", code=2)["findings"]
    assert next(f for f in findings if f["name"] == "library")["status"] == "broken"


@pytest.mark.parametrize(
    "words",
    [
        ["library", "import", "nowhere"],
        ["library", "import", "{empty}"],
        ["library", "import-peoples-speech", "--from", "nowhere"],
    ],
)
def test_invalid_requests_are_rejected(cli: Cli, tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cli.refused(*(word.format(empty=empty) for word in words))
