"""``voices`` and ``engines``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from command_line.doctor import _for_recordings
from core.events import Reporter
from tests.support.command_line_samples import Cli


def test_voices_and_engines_are_listed(cli: Cli) -> None:
    voices = cli.json("voices", "list")["voices"]
    assert {"engine", "name", "language", "speaker", "licence", "model"} == set(voices[0])
    assert "espeak" in cli("voices", "list")
    assert "licence" in cli("voices", "list", "--engine", "espeak", "--language", "de")
    engines = {engine["name"]: engine for engine in cli.json("engines", "list")["engines"]}
    assert engines["espeak"]["ready"] and engines["elevenlabs"]["paid"]
    assert all(engine["ready"] or engine["how_to_enable"] for engine in engines.values())
    assert "by default" in cli("engines", "list")


def test_voices_pull_downloads_a_voice(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> list[Path]:
        for done in (0, 50, 100):
            reporter.progress(done, 100)
        return [tmp_path / "voice.onnx"]

    monkeypatch.setattr("pipeline.engine_setup.hub_download", download)
    result = cli.json("voices", "pull", "piper", "en_US-lessac-medium")
    assert result["files"] == [str(tmp_path / "voice.onnx")]


def test_engines_enable_creates_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def enable(name: str, report: Callable[[str], None]) -> Path:
        report("Collecting piper-tts")
        return tmp_path

    monkeypatch.setattr("core.environments.enable", enable)
    cli("engines", "enable", "piper")
    assert "Collecting piper-tts" in cli.err and "piper" in cli.out


def test_doctor_names_the_command_that_pulls_a_model(cli: Cli, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> None:
        for name in ("config.json", "model.safetensors"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")

    def commands() -> list[str]:
        findings = list(_for_recordings())
        wanted = [found.what_to_do for found in findings if found.name.startswith(("questions:", "summaries:"))]
        return re.findall(r"hark (engines pull \w+)", " ".join(wanted))

    monkeypatch.setattr("pipeline.recordings.language_models.local_models.hub_download", download)
    named = commands()
    assert named == ["engines pull reader", "engines pull embedding", "engines pull summary"]
    for command in named:
        cli.json(*command.split())
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
def test_invalid_requests_are_rejected(cli: Cli, words: list[str]) -> None:
    cli.refused(*words)
