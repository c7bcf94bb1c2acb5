"""``python -m lab``."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from command_line.application import main
from lab import MEASUREMENTS, BenchOptions, run_measurement
from lab.__main__ import build_parser
from lab.measure import detector
from tests.support.command_line_samples import error_of
from tests.support.processes import resident_kib


def run(*words: str) -> int:
    return main(words, build_parser)


def test_a_measurement_prints_its_table_and_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = ("DATABASE_URL", "REDIS_URL")
    for name in servers:
        monkeypatch.setenv(name, "elsewhere")
    asked: list[BenchOptions] = []

    def measured(name: str, options: BenchOptions, reporter: object) -> dict[str, Any]:
        assert not any(server in os.environ for server in servers), "the settings of this machine's portal do not apply"
        asked.append(options)
        return {"name": name}

    monkeypatch.setattr("lab.__main__.run_measurement", measured)
    assert run("engines", "--seed", "3", "--engines", "espeak,flite", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"name", "command", "commit", "machine", "figures"}
    assert result["command"] == "python -m lab engines --engines espeak,flite --seed 3"
    assert asked == [BenchOptions(seed=3, engines=("espeak", "flite"))]
    monkeypatch.setattr("lab.measure.confusables.table", lambda figures: "a table")
    assert run("confusables", "a.zip", "--anchors", "9") == 0
    shown = capsys.readouterr().out
    assert "a table" in shown and "./hark bench confusables a.zip --anchors 9" in shown
    assert asked[1].bundles == (Path("a.zip"),) and asked[1].anchors == 9
    assert run("mining") == 0 and asked[2].phrase == "something"


def test_every_measurement_has_a_module() -> None:
    for one in MEASUREMENTS.values():
        assert callable(importlib.import_module(f"lab.{one.module}").run)


def test_a_quick_measurement_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.events import silent_reporter

    monkeypatch.setattr(detector, "STREAM_S", 6.0)
    figures = run_measurement("detector", BenchOptions(), silent_reporter())
    assert 0 < figures["standard"]["int8"]["bytes"] < figures["standard"]["fp32"]["bytes"]
    assert 0 < figures["standard"]["int8"]["share_of_core"] < 1
    assert figures["standard"]["parameters"] > 5 * figures["from_nothing"]["parameters"], (
        "the detector uses the backbone"
    )
    assert 0 < figures["openwakeword"]["share_of_core"] < 1


def test_resident_memory_of_a_process_is_read() -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no /proc here")
    assert resident_kib(os.getpid()) > 10_000
    assert resident_kib(2**30) == 0


@pytest.mark.parametrize(
    "words", [["engines", "--engines", "nobody"], ["engines", "--seed", "🦜"], ["kills", "--servers"], ["nothing"]]
)
def test_invalid_requests_are_rejected(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(*words, "--json") == 2
    error_of(capsys.readouterr().out)
