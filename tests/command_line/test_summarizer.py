"""The command ``summarizer``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.recordings.transcripts.transcript import Segment, Transcript, save_transcript
from tests.support.command_line_samples import Cli

TEXT = """We moved to bigger servers, and the load test handled ten thousand visitors.
The lawyers asked for the privacy policy twice. I'll write the policy by Friday.
The launch of the website is on the fifteenth of March.
Last year the website went down on the first day and customers were angry.
"""


@pytest.fixture(autouse=True)
def no_models(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HARK_LLM_URL", "HARK_LLM_MODEL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_a_text_is_summarized(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(TEXT)
    summary = cli.json("summarizer", "summarize", str(tmp_path / "notes.txt"))
    assert summary["engine"] == "extractive LSA" and len(summary["key_points"]) == 3
    assert [point["text"] for point in summary["action_items"]] == ["I'll write the policy by Friday."]
    cli("summarizer", "summarize", str(tmp_path / "notes.txt"), "--language", "de")
    assert "To do\n  I'll write the policy by Friday.  [2]" in cli.out and "sounds" not in cli.out
    assert "extractive LSA" in cli.err


def test_a_transcript_is_summarized(cli: Cli, tmp_path: Path) -> None:
    lines = TEXT.splitlines()
    said = tuple(Segment(float(n), n + 1.0, line, 0.9) for n, line in enumerate(lines))
    save_transcript(Transcript(9.0, "en", "test", said), tmp_path / "transcript.json")
    summary = cli.json("summarizer", "summarize", str(tmp_path / "transcript.json"))
    assert summary["action_items"] == [{"text": "I'll write the policy by Friday.", "segments": [1]}]
    words = ("summarizer", "summarize", str(tmp_path / "transcript.json"), "--language", "de")
    assert "gives its language" in cli.refused(*words)["why"]
    assert summary["sentiment"]["label"] in ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    "words",
    [
        ["summarizer"],
        ["summarizer", "train"],
        ["summarizer", "train", "--epochs", "1", "--batch_size", "8", "--subset", "30"],
        ["summarizer", "train", "nowhere.jsonl"],
        ["summarizer", "train", "."],
        ["summarizer", "train", ".", "--epochs", "0"],
        ["summarizer", "train", ".", "--batch_size", "-1"],
        ["summarizer", "train", ".", "--subset", "many"],
        ["summarizer", "summarize", "nowhere.txt"],
        ["summarizer", "summarize", "nowhere.json"],
        ["summarizer", "summarize", "."],
        ["summarizer", "summarize", "a.txt", "--engine", "magic"],
        ["summarizer", "summarize", "a.txt", "--engine", "llm"],
    ],
)
def test_invalid_command_lines_are_rejected(
    cli: Cli, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(TEXT)
    assert cli.refused(*words)


def test_nothing_to_summarize_is_reported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "Nothing was said" in cli.json("summarizer", "summarize", str(tmp_path / "empty.txt"))["text"]
    transcript = Transcript(0.0, "en", "")
    save_transcript(replace(transcript, duration_s=1.0), tmp_path / "transcript.json")
    assert cli.json("summarizer", "summarize", str(tmp_path / "transcript.json"))["key_points"] == []
