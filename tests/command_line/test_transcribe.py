"""``./hark transcribe``: its output, files and refusals; and the checkpoints that the benchmark makes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from command_line import transcribe as transcribing
from command_line.console import Screen
from command_line.options import Parser, UsageError
from core.audio_file import write_audio
from core.errors import HarkError
from tests.support.command_line_samples import Shown
from tests.support.scripted_engine import Scripted, use_engines
from tests.support.untrained_bundle import spoken

TEXT = "the weather will be nice tomorrow"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path) -> Scripted:
    """The only engine; the command runs in an empty folder."""
    double = Scripted()
    use_engines(monkeypatch, double)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return double


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser(prog="./hark")
    transcribing.register(parser.add_subparsers(parser_class=Parser))
    return parser.parse_args(["transcribe", *words])


def run(*words: str) -> int:
    options = parsed(*words)
    with Screen(getattr(options, "json", False)) as screen:
        return options.handler(options, screen)


def test_text_and_captions_on_stdout(engine: Scripted, data_dir: Path, capsys: Shown) -> None:
    write_audio(Path("talk.wav"), spoken(TEXT))
    assert run("talk.wav") == 0
    shown = capsys.readouterr()
    assert "piece 1" in shown.out and "Transcribing with scripted a" in shown.err
    assert run("talk.wav", "--format", "srt") == 0
    assert "00:00:0" in capsys.readouterr().out
    assert not list((data_dir / "transcripts").glob("*"))  # nothing is left over


def test_json_is_one_object_with_the_transcript(engine: Scripted, capsys: Shown) -> None:
    write_audio(Path("talk.wav"), spoken(TEXT))
    assert run("talk.wav", "missing.wav", "--json", "--language", "de") == 2
    content = json.loads(capsys.readouterr().out)
    assert content["files"][0]["file"] == "talk.wav"
    assert content["files"][0]["transcript"]["segments"][0]["text"] == "piece 1"
    assert content["files"][0]["transcript"]["language"] == "de"
    assert content["errors"][0]["file"] == "missing.wav" and content["error"]["what_to_do"]


def test_several_files_are_written_and_nothing_is_written_over(engine: Scripted, capsys: Shown) -> None:
    for name in ("one.wav", "two.wav"):
        write_audio(Path(name), spoken(TEXT))
    Path("one-2.vtt").write_text("of somebody else")
    for written in (["one.vtt", "two.vtt"], ["one-3.vtt", "two-2.vtt"]):
        assert run("one.wav", "two.wav", "--format", "vtt") == 0
        assert capsys.readouterr().out.split() == written
    assert Path("two-2.vtt").read_text().startswith("WEBVTT")
    assert Path("one-2.vtt").read_text() == "of somebody else"


def test_silence_says_that_nothing_was_spoken(engine: Scripted, capsys: Shown) -> None:
    write_audio(Path("silence.wav"), np.zeros(32_000, np.float32))
    assert run("silence.wav") == 0
    shown = capsys.readouterr()
    assert shown.out == "" and "has no speech" in shown.err


def test_a_run_that_failed_goes_on(engine: Scripted) -> None:
    write_audio(Path("talk.wav"), np.concatenate([spoken(TEXT, 1.0, 3.0), spoken(TEXT, 1.0, 1.0)]))
    engine.fails_at = 2
    assert run("talk.wav") == 2
    assert run("talk.wav") == 0
    assert len(engine.heard) == 3


def test_what_is_refused(engine: Scripted) -> None:
    with pytest.raises(HarkError, match="No file was given"):
        run()
    with pytest.raises(HarkError, match="no recognition engine"):
        run("talk.wav", "--engine", "siri")
    for words in (["--speakers", "-1"], ["--speakers", "99"], ["--speakers", "two"], ["--format", "pdf"]):
        with pytest.raises(UsageError):
            parsed("talk.wav", *words)
