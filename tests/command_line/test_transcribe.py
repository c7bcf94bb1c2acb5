"""``./hark transcribe``: its output, files and refusals; and the checkpoints that the benchmark makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import write_audio
from pipeline.recordings.transcription.transcribe import TranscribeOptions
from pipeline.recordings.transcripts.transcript import Transcript
from tests.support.command_line_samples import Cli
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


def test_text_and_captions_are_printed_to_stdout(engine: Scripted, data_dir: Path, cli: Cli) -> None:
    write_audio(Path("talk.wav"), spoken(TEXT))
    cli("transcribe", "talk.wav")
    assert "piece 1" in cli.out and "Transcribing with scripted a" in cli.err
    assert "00:00:0" in cli("transcribe", "talk.wav", "--format", "srt")
    assert not list((data_dir / "transcripts").glob("*"))  # nothing is left over


def test_the_json_is_one_object_with_the_transcript(engine: Scripted, cli: Cli) -> None:
    write_audio(Path("talk.wav"), spoken(TEXT))
    content = cli.json("transcribe", "talk.wav", "missing.wav", "--language", "de", code=2)
    assert content["files"][0]["file"] == "talk.wav"
    assert content["files"][0]["transcript"]["segments"][0]["text"] == "piece 1"
    assert content["files"][0]["transcript"]["language"] == "de"
    assert content["errors"][0]["file"] == "missing.wav" and content["error"]["what_to_do"]


def test_several_files_are_written_without_overwriting(engine: Scripted, cli: Cli) -> None:
    for name in ("one.wav", "two.wav"):
        write_audio(Path(name), spoken(TEXT))
    Path("one-2.vtt").write_text("of somebody else")
    for written in (["one.vtt", "two.vtt"], ["one-3.vtt", "two-2.vtt"]):
        assert cli("transcribe", "one.wav", "two.wav", "--format", "vtt").split() == written
    assert Path("two-2.vtt").read_text().startswith("WEBVTT")
    assert Path("one-2.vtt").read_text() == "of somebody else"


def test_a_silent_recording_is_reported_as_having_no_speech(engine: Scripted, cli: Cli) -> None:
    write_audio(Path("silence.wav"), np.zeros(32_000, np.float32))
    cli("transcribe", "silence.wav")
    assert cli.out == "" and "has no speech" in cli.err


def test_a_rerun_continues_after_a_failure(engine: Scripted, cli: Cli) -> None:
    write_audio(Path("talk.wav"), np.concatenate([spoken(TEXT, 1.0, 3.0), spoken(TEXT, 1.0, 1.0)]))
    engine.fails_at = 2
    cli("transcribe", "talk.wav", code=2)
    cli("transcribe", "talk.wav")
    assert len(engine.heard) == 3


def test_invalid_requests_are_rejected(engine: Scripted, cli: Cli) -> None:
    assert "No file was given" in cli.refused("transcribe")["why"]
    assert "no recognition engine" in cli.refused("transcribe", "talk.wav", "--engine", "siri")["what"]
    for words in (["--speakers", "-1"], ["--speakers", "99"], ["--speakers", "two"], ["--format", "pdf"]):
        cli.refused("transcribe", "talk.wav", *words)
    assert "contains the transcript" in cli.refused("transcribe", "talk.wav", "--format", "srt")["why"]
    for option in ("--engine siri", "--language de", "--speakers 0", "--format srt"):
        assert "No file was given" in cli.refused("transcribe", "--pull", "tiny", *option.split())["why"]


@pytest.mark.parametrize(("speakers", "channels"), [("0", True), ("2", True), ("4", False)])
def test_other_numbers_of_speakers_mix_the_channels(
    engine: Scripted, cli: Cli, monkeypatch: pytest.MonkeyPatch, speakers: str, channels: bool
) -> None:
    asked: list[bool] = []

    def transcribe(audio: Path, options: TranscribeOptions, *_more: object) -> Transcript:
        asked.append(options.channels)
        return Transcript(1.0, "en", "scripted")

    monkeypatch.setattr("pipeline.recordings.transcribing.transcribe", transcribe)
    write_audio(Path("talk.wav"), spoken(TEXT))
    cli("transcribe", "talk.wav", "--speakers", speakers)
    assert asked == [channels]
