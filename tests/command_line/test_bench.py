"""The command ``bench``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmark import commit, wakeword, wakeword_summary
from command_line import bench
from tests.support.command_line_samples import Cli, Shown


def test_bench_prints_the_table_with_machine_and_commit(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def measured(*given: Any) -> dict[str, object]:
        asked.append(given[:-1])
        return {"standard": {"bytes": 1234567}}

    monkeypatch.setattr(wakeword, "run", measured)
    monkeypatch.setattr(wakeword_summary, "table", lambda figures: f"a table of {len(figures)}")
    result = cli.json("bench", "wakeword", "a.zip", "--engines", "all", "--seed", "3", "--fetch", "audio")
    assert asked == [([Path("a.zip")], True, Path("audio"), 3)]
    assert set(result) == {"name", "command", "commit", "machine", "figures"}
    assert result["command"] == "./hark bench wakeword a.zip --engines all --fetch audio --seed 3"
    assert result["machine"]["cores"] >= 1 and result["commit"] == commit()
    shown = cli("bench", "wakeword", "a.zip")
    assert "a table of 1" in shown and "./hark bench wakeword a.zip" in shown


def test_figures_without_a_table_are_listed(capsys: Shown) -> None:
    from command_line.console import Screen

    with Screen(json_wanted=False) as screen:
        bench.show_figures("detector", "./hark bench detector", {"standard": {"bytes": 1234567}}, None, screen)
    assert "1,234,567" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["confusables", "a b.zip", "--anchors", "9", "--json"], ["mining", "--phrase", "the sea"]]
)
def test_lab_measurements_run_through_the_lab_command(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "lab.py").write_text(
        "import json, os, sys\njson.dump([sys.argv[1:], os.environ['PYTHONPATH']], open('asked', 'w'))\nsys.exit(7)\n"
    )
    monkeypatch.chdir(tmp_path)  # where Python looks for it first
    cli("bench", *words, code=7)
    asked, places = json.loads((tmp_path / "asked").read_text())
    assert asked == words and str(bench.REPOSITORY) in places.split(os.pathsep)


def test_a_missing_lab_is_reported(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "REPOSITORY", tmp_path)
    assert "not part of an installed Hark" in cli.refused("bench", "detector")["what"]


@pytest.mark.parametrize(
    "words",
    [
        ["bench"],
        ["bench", "kills"],
        ["bench", "detector", "bundle.zip"],
        ["bench", "wakeword", "nothing.zip"],
        ["bench", "wakeword", "--engines", "espeak"],
    ],
)
def test_invalid_requests_are_rejected(cli: Cli, words: list[str]) -> None:
    cli.refused(*words)
