"""``voices`` and ``engines``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from command_line.doctor import _recording_tools
from core.events import Reporter
from tests.support.command_line_samples import Main, Shown, as_json, error_of


def test_voices_and_engines(main: Main, capsys: Shown) -> None:
    voices = as_json(main, capsys, "voices", "list")["voices"]
    assert {"engine", "name", "language", "speaker", "licence", "model"} == set(voices[0])
    assert main("voices", "list") == 0
    assert "espeak" in capsys.readouterr().out
    assert main("voices", "list", "--engine", "espeak", "--language", "de") == 0
    assert "licence" in capsys.readouterr().out
    engines = {engine["name"]: engine for engine in as_json(main, capsys, "engines", "list")["engines"]}
    assert engines["espeak"]["ready"] and engines["elevenlabs"]["paid"]
    assert all(engine["ready"] or engine["how_to_enable"] for engine in engines.values())
    assert main("engines", "list") == 0
    assert "by default" in capsys.readouterr().out


def test_a_voice_is_pulled(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> list[Path]:
        for done in (0, 50, 100):
            reporter.progress(done, 100)
        return [tmp_path / "voice.onnx"]

    monkeypatch.setattr("pipeline.engine_setup.hub_download", download)
    result = as_json(main, capsys, "voices", "pull", "piper", "en_US-lessac-medium")
    assert result["files"] == [str(tmp_path / "voice.onnx")]


def test_an_engine_is_enabled(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def enable(name: str, report: Callable[[str], None]) -> Path:
        report("Collecting piper-tts")
        return tmp_path

    monkeypatch.setattr("core.environments.enable", enable)
    assert main("engines", "enable", "piper") == 0
    shown = capsys.readouterr()
    assert "Collecting piper-tts" in shown.err and "piper" in shown.out


def test_doctor_names_the_command_that_pulls_a_model(
    main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> None:
        for name in ("config.json", "model.safetensors"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")

    def commands() -> list[str]:
        findings = list(_recording_tools())
        wanted = [found.what_to_do for found in findings if found.name.startswith(("questions:", "summaries:"))]
        return re.findall(r"hark (engines pull \w+)", " ".join(wanted))

    monkeypatch.setattr("pipeline.recordings.local_models.hub_download", download)
    named = commands()
    assert named == ["engines pull reader", "engines pull embedding", "engines pull summary"]
    for command in named:
        as_json(main, capsys, *command.split())
    assert commands() == []


@pytest.mark.parametrize(
    "words",
    [
        ["voices", "list", "--language", "qqq"],
        ["voices", "list", "--engine", "nobody"],
        ["voices", "pull", "nobody", "x"],
        ["voices", "pull", "espeak", "x"],
        ["voices", "pull", "piper", "../../x"],
        ["engines", "enable", "nobody"],
        ["engines", "enable", "../../x"],
        ["engines", "enable", "espeak"],
    ],
)
def test_what_cannot_be_done_is_explained(main: Main, capsys: Shown, tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(*(word.format(empty=empty) for word in words), "--json") == 2
    error_of(capsys.readouterr().out)
