"""``./hark watch``: transcripts next to the recordings of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import watch as watching
from core.audio_file import write_audio
from tests.support.command_line_samples import Cli
from tests.support.scripted_engine import Scripted, use_engines
from tests.support.untrained_bundle import spoken

TEXT = "the weather will be nice tomorrow"


Meanwhile = list[Callable[[], None]]


@pytest.fixture
def meanwhile() -> Meanwhile:
    """Functions to call, one during each wait of the command."""
    return []


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path, meanwhile: Meanwhile) -> Path:
    """The watched folder. Waiting takes no time."""
    use_engines(monkeypatch, Scripted())
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: [happen() for happen in meanwhile])
    made = tmp_path / "inbox"
    made.mkdir()
    return made


def test_transcripts_are_written_next_to_recordings_and_not_replaced(folder: Path, cli: Cli) -> None:
    write_audio(folder / "talk.wav", spoken(TEXT))
    (folder / "talk.doc").write_text("no recording")
    (folder / ".hidden.wav").write_text("no recording")
    cli("watch", str(folder), "--once")
    assert "piece 1" in (folder / "talk.wav.txt").read_text()
    assert sorted(path.name for path in folder.iterdir()) == [".hidden.wav", "talk.doc", "talk.wav", "talk.wav.txt"]
    (folder / "talk.wav.txt").write_text("corrected by hand")
    assert cli("watch", str(folder), "--once") == "", "after a restart"
    assert (folder / "talk.wav.txt").read_text() == "corrected by hand"
    cli("watch", str(folder), "--once", "--format", "srt")
    assert "00:00:0" in (folder / "talk.wav.srt").read_text()


def test_links_are_skipped_and_names_cannot_control_the_terminal(folder: Path, cli: Cli, tmp_path: Path) -> None:
    write_audio(tmp_path / "private.wav", spoken(TEXT))
    (folder / "link.wav").symlink_to(tmp_path / "private.wav")
    write_audio(folder / "a\x1b]0;title\x07.wav", spoken(TEXT))
    (folder / "b\x1b[2J.wav").write_text("no sound")
    cli("watch", str(folder), "--once", code=2)
    assert not (folder / "link.wav.txt").exists() and (folder / "a\x1b]0;title\x07.wav.txt").exists()
    assert "\x1b" not in cli.out + cli.err and "\\x1b]0;title" in cli.out


def test_a_file_that_is_still_being_written_is_not_read(folder: Path, meanwhile: Meanwhile, cli: Cli) -> None:
    write_audio(folder / "whole.wav", spoken(TEXT))
    content = (folder / "whole.wav").read_bytes()
    (folder / "whole.wav").unlink()
    growing = folder / "growing.wav"
    looks: list[int] = []

    def pass_time() -> None:
        looks.append(len(looks))
        part = len(content) * min(len(looks), 4) // 4
        if growing.stat().st_size < part:
            assert not (folder / "growing.wav.txt").exists()
            growing.write_bytes(content[:part])

    growing.write_bytes(content[:10])
    meanwhile.append(pass_time)
    cli("watch", str(folder), "--once")
    assert len(looks) == 5 and "piece 1" in (folder / "growing.wav.txt").read_text()


def test_a_failure_is_reported_once_and_watching_continues(folder: Path, meanwhile: Meanwhile, cli: Cli) -> None:
    (folder / "a broken.wav").write_bytes(b"no sound at all")
    looks: list[int] = []

    def pass_time() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            write_audio(folder / "later.wav", spoken(TEXT))
        if len(looks) == 6:
            write_audio(folder / "a broken.wav", spoken(TEXT))  # repaired
            os.utime(folder / "a broken.wav", ns=(1, 1))
        if len(looks) == 9:
            raise KeyboardInterrupt

    meanwhile.append(pass_time)
    cli("watch", str(folder), code=130)
    assert [Path(line).name for line in cli.out.splitlines()] == ["later.wav.txt", "a broken.wav.txt"]
    assert cli.err.count("What to do:") == 1


def test_failures_appear_in_exit_code_and_json(folder: Path, cli: Cli) -> None:
    (folder / "broken.wav").write_bytes(b"no sound at all")
    content = cli.json("watch", str(folder), "--once", code=2)
    assert content["written"] == [] and content["errors"][0]["file"].endswith("broken.wav")
    assert "does not exist" in cli.refused("watch", str(folder / "missing"), "--once")["why"]
