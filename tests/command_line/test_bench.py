"""``bench``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import BENCHMARKS, commit, detector, features
from benchmark.memory import resident_kib
from core.data_folder import REPOSITORY
from tests.support.command_line_samples import as_json, error_of

Main = Callable[..., int]
Shown = pytest.CaptureFixture[str]


def test_bench_says_what_was_measured_where(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = ("DATABASE_URL", "REDIS_URL")
    for name in servers:
        monkeypatch.setenv(name, "elsewhere")

    def measured(name: str, options: object, reporter: object) -> dict[str, object]:
        assert not any(server in os.environ for server in servers), "what is measured is not this machine's portal"
        return {"standard": {"bytes": 1234567}}

    monkeypatch.setattr("benchmark.measure", measured)
    result = as_json(main, capsys, "bench", "training", "--phrase", "smart mirror", "--engines", "espeak,flite")
    assert set(result) == {"name", "command", "commit", "machine", "figures"}
    assert result["command"] == "./hark bench training --phrase 'smart mirror' --engines espeak,flite"
    assert result["machine"]["cores"] >= 1 and result["commit"] == commit()
    monkeypatch.setattr("benchmark.confusables.table", lambda figures: "a table")
    assert main("bench", "confusables", "a.zip", "--anchors", "9") == 0
    shown = capsys.readouterr().out
    assert "a table" in shown and "./hark bench confusables a.zip --anchors 9" in shown
    assert main("bench", "detector") == 0
    assert "1,234,567" in capsys.readouterr().out


def test_every_benchmark_has_its_module() -> None:
    modules = {path.stem for path in (REPOSITORY / "benchmark").glob("[a-z]*.py")}
    assert set(BENCHMARKS) <= modules


@pytest.mark.slow(reason="measures for several seconds")
@pytest.mark.parametrize("name", ["features", "detector"])
def test_quick_benchmarks_run(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(detector, "STREAM_S", 6.0)
    monkeypatch.setattr(features, "MEASURED_S", 0.2)
    figures = as_json(main, capsys, "bench", name)["figures"]
    if name == "features":
        assert all(row["times_real_time_a_core"] > 1 for row in figures.values())
    else:
        assert 0 < figures["standard"]["int8"]["bytes"] < figures["standard"]["fp32"]["bytes"]
        assert 0 < figures["standard"]["int8"]["share_of_core"] < 1
        assert figures["standard"]["parameters"] > 5 * figures["from_nothing"]["parameters"], (
            "it stands on the backbone"
        )
        peer = figures["openwakeword"]
        assert 0 < peer.get("share_of_core", 0) < 1 or "not_measured" in peer


def test_recognizers_to_measure_are_chosen(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.audio.run", lambda options, reporter: {"chosen": list(options.engines)})
    result = as_json(main, capsys, "bench", "audio", "--engines", "moonshine,hark")
    assert result["figures"] == {"chosen": ["moonshine", "hark"]}
    assert result["command"] == "./hark bench audio --engines moonshine,hark"


def test_memory_of_a_process() -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no /proc here")
    assert resident_kib(os.getpid()) > 10_000
    assert resident_kib(2**30) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "engines", "--engines", "nobody"],
        ["bench", "features", "bundle.zip"],
        ["bench", "features", "--engines", "all"],
        ["bench", "wakeword", "nothing.zip"],
        ["bench", "wakeword", "--engines", "espeak"],
        ["bench", "confusables", "nothing.zip"],
        ["bench", "training", "--phrase", "🦜"],
        ["bench", "load", "--servers"],
        ["bench", "kills", "--servers"],
    ],
)
def test_what_cannot_be_done_is_explained(main: Main, capsys: Shown, tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(*(word.format(empty=empty) for word in words), "--json") == 2
    error_of(capsys.readouterr().out)
