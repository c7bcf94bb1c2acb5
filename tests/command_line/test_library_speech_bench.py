"""``library``, ``voices``, ``engines``, ``bench``, ``doctor`` and ``test``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command_line_samples import Run, babble, error_of

from command_line.doctor import pinned
from core.data_folder import REPOSITORY
from pipeline.benchmark import BENCHMARKS, commit
from pipeline.benchmark.training import resident_kib

Main = Callable[..., int]
Shown = pytest.CaptureFixture[str]


def as_json(main: Main, capsys: Shown, *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(*arguments, "--json") == code
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(3):
        audio = np.roll(babble(1.0 + number), number)
        soundfile.write(folder / f"{number}.wav", audio, 16_000)
        (folder / f"{number}.txt").write_text(f"this is sentence number {number}")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "LICENSE").write_text("CC-BY-4.0")
    return folder


def test_recordings_go_in_and_come_out(main: Main, capsys: Shown, corpus: Path, tmp_path: Path) -> None:
    assert main("library", "stats") == 0
    assert "The library is empty" in capsys.readouterr().out
    imported = as_json(main, capsys, "library", "import", str(corpus))
    assert imported["added"] == 3 and sum(imported["skipped"].values()) == 1 and "CC-BY" in imported["licence"]
    again = as_json(main, capsys, "library", "import", str(corpus))
    assert again["added"] == 0 and again["already_there"] == 3
    stats = as_json(main, capsys, "library", "stats")
    assert stats["clips"] == 3 and stats["hours"] == pytest.approx(6 / 3600)
    assert main("library", "stats") == 0
    assert "corpus" in capsys.readouterr().out
    exported = as_json(main, capsys, "library", "export", str(tmp_path / "out"))
    assert exported["clips"] == 3 and len(Path(exported["manifest"]).read_text().splitlines()) == 3


def test_licence_and_language_of_an_import(main: Main, capsys: Shown, corpus: Path) -> None:
    words = ("library", "import", str(corpus), "--licence", "CC0-1.0", "--language", "de", "--limit-hours", "0.0005")
    imported = as_json(main, capsys, *words)
    assert imported["licence"] == "CC0-1.0" and imported["limit_reached"] and imported["added"] < 3
    assert as_json(main, capsys, "library", "stats")["by_language"] == {"de": imported["added"]}


def test_check_and_mend(main: Main, capsys: Shown, corpus: Path, data_dir: Path) -> None:
    as_json(main, capsys, "library", "import", str(corpus))
    next((data_dir / "clips").rglob("*.flac")).unlink()
    report = as_json(main, capsys, "library", "check", code=2)
    assert not report["ok"] and report["counts"] == {"row without file": 1}
    assert main("library", "check") == 2
    assert "library check --mend" in capsys.readouterr().out.splitlines()[-1]
    assert as_json(main, capsys, "library", "check", "--mend")["ok"]
    assert as_json(main, capsys, "library", "check", "--quick")["clips"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["library", "import", "nowhere"],
        ["library", "import", "{empty}"],
        ["library", "import-peoples-speech", "--from", "nowhere"],
        ["voices", "list", "--language", "qqq"],
        ["voices", "list", "--engine", "nobody"],
        ["voices", "pull", "nobody", "x"],
        ["voices", "pull", "espeak", "x"],
        ["voices", "pull", "piper", "../../x"],
        ["engines", "enable", "nobody"],
        ["engines", "enable", "../../x"],
        ["engines", "enable", "espeak"],
        ["bench", "engines", "--engines", "nobody"],
        ["bench", "features", "bundle.zip"],
        ["bench", "wakeword", "nothing.zip"],
        ["bench", "training", "--phrase", "🦜"],
    ],
)
def test_what_cannot_be_done_is_explained(main: Main, capsys: Shown, tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(*(word.format(empty=empty) for word in words), "--json") == 2
    error_of(capsys.readouterr().out)


def test_a_damaged_library(main: Main, capsys: Shown, data_dir: Path) -> None:
    (data_dir / "library.sqlite3").write_bytes(b"this is no database" * 100)
    for command in ("stats", "check"):
        assert main("library", command, "--json") == 2
        error_of(capsys.readouterr().out)
    assert main("doctor", "--json") == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert next(f for f in findings if f["name"] == "library")["status"] == "broken"


def test_voices_and_engines(main: Main, capsys: Shown) -> None:
    voices = as_json(main, capsys, "voices", "list")["voices"]
    assert {"engine", "name", "language", "speaker", "licence", "model"} == set(voices[0])
    assert all(voice["engine"] != "fake" for voice in voices)
    assert main("voices", "list") == 0
    assert "espeak" in capsys.readouterr().out
    assert main("voices", "list", "--engine", "fake", "--language", "de") == 0
    assert "CC0-1.0" in capsys.readouterr().out
    engines = {engine["name"]: engine for engine in as_json(main, capsys, "engines", "list")["engines"]}
    assert engines["espeak"]["ready"] and engines["elevenlabs"]["paid"] and "fake" not in engines
    assert all(engine["ready"] or engine["how_to_enable"] for engine in engines.values())
    assert main("engines", "list") == 0
    assert "by default" in capsys.readouterr().out


def test_a_voice_is_pulled(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pull(engine: str, voice: str, progress: Callable[[str, int, int], None]) -> list[Path]:
        for done in (0, 50, 100):
            progress("voice.onnx", done, 100)
        return [tmp_path / "voice.onnx"]

    monkeypatch.setattr("audio_generation.voices_pull.pull", pull)
    result = as_json(main, capsys, "voices", "pull", "piper", "en_US-lessac-medium")
    assert result["files"] == [str(tmp_path / "voice.onnx")]


def test_an_engine_is_enabled(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def enable(name: str, report: Callable[[str], None]) -> Path:
        report("Collecting piper-tts")
        return tmp_path

    monkeypatch.setattr("audio_generation.environments.enable", enable)
    assert main("engines", "enable", "piper") == 0
    shown = capsys.readouterr()
    assert "Collecting piper-tts" in shown.err and "piper" in shown.out


def test_bench_says_what_was_measured_where(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.benchmark.measure", lambda name, options, reporter: {"standard": {"bytes": 1234567}})
    result = as_json(main, capsys, "bench", "training", "--phrase", "smart mirror", "--engines", "espeak,flite")
    assert set(result) == {"name", "command", "commit", "machine", "figures"}
    assert result["command"] == "./hark bench training --phrase 'smart mirror' --engines espeak,flite"
    assert result["machine"]["cores"] >= 1 and result["commit"] == commit()
    assert main("bench", "detector") == 0
    assert "1,234,567" in capsys.readouterr().out


def test_every_benchmark_has_its_module() -> None:
    modules = {path.stem for path in (REPOSITORY / "pipeline" / "benchmark").glob("[a-z]*.py")}
    assert set(BENCHMARKS) <= modules


@pytest.mark.slow
@pytest.mark.parametrize("name", ["features", "detector"])
def test_quick_benchmarks_run(main: Main, capsys: Shown, name: str) -> None:
    figures = as_json(main, capsys, "bench", name)["figures"]
    if name == "features":
        assert all(row["times_real_time_a_core"] > 1 for row in figures.values())
    else:
        assert (
            0
            < figures["micro"]["int8"]["bytes"]
            < figures["standard"]["int8"]["bytes"]
            < figures["standard"]["fp32"]["bytes"]
        )
        assert 0 < figures["standard"]["int8"]["share_of_core"] < 1


def test_memory_of_a_process() -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no /proc here")
    assert resident_kib(os.getpid()) > 10_000
    assert resident_kib(2**30) == 0


def test_doctor(main: Main, capsys: Shown, data_dir: Path) -> None:
    code = main("doctor", "--json")
    result = json.loads(capsys.readouterr().out)
    found = {finding["name"]: finding for finding in result["findings"]}
    assert code == (0 if result["ok"] else 2)
    assert found["python"]["status"] == "ok" and found["data folder"]["status"] == "ok"
    assert found["engine espeak"]["status"] == "ok" and found["library"]["status"] == "ok"
    assert all(f["what_to_do"] for f in result["findings"] if f["status"] != "ok")
    assert not (data_dir / "library.sqlite3").exists(), "looking changes nothing"
    main("doctor")
    assert "Hark can" in capsys.readouterr().out


def test_doctor_says_which_packages_are_missing(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {**pinned(REPOSITORY / "requirements.txt"), "no-such-package": "1.0"}
    assert pins["numpy"]
    monkeypatch.setattr("command_line.doctor.pinned", lambda path: pins)
    assert main("doctor") == 2
    shown = capsys.readouterr().out
    assert "missing: no-such-package" in shown and "cannot train here yet" in shown


def test_pytest_is_run_for_both_halves(hark: Run, tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\ndef test_fast(): pass\n@pytest.mark.slow\ndef test_slow(): assert 'HARK_FAIL' != 'x'\n"
    )
    done = hark("test", str(tmp_path / "test_sample.py"), "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed, 1 deselected") == 2
    done = hark("test", str(tmp_path / "test_sample.py"), "-k", "fast", "-p", "no:cacheprovider")
    assert done.returncode == 0, "nothing left in one half is no failure"
    (tmp_path / "test_sample.py").write_text("def test_fails(): assert False\n")
    assert hark("test", str(tmp_path / "test_sample.py"), "-p", "no:cacheprovider").returncode == 1


def test_without_pytest(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main("test") == 2
    assert "pytest is not installed" in capsys.readouterr().err
