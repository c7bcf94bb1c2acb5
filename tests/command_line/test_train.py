"""``train``, ``plan`` and ``advise``: their requests to the pipeline and their output, with a stub for the work."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import HarkError
from core.events import Reporter, silent_reporter
from db.db_api import Library
from db.records import NewClip
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.plan import save_plan
from pipeline.training.planning.preview import plan_run
from pipeline.training.recipes import size_for
from pipeline.training.workspace.run_folder import RunFolder
from tests.support.command_line_samples import Cli, Run, assert_fixable, error_of
from tests.support.mounting import mount
from tests.support.terminal import SLOW_TRAINING, at_terminal, brief_command, slow_command
from tests.support.untrained_bundle import keyword_hmm_bundle

Asked = list[tuple[RunConfig, bool]]
INTERVAL = {"value": 0.031, "low": 0.015, "high": 0.06}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Asked:
    """A stub for training that records its arguments."""
    asked: Asked = []

    def run_training(config: RunConfig, data: Path, reporter: Reporter, tensorboard: bool = False) -> dict[str, Any]:
        assert data == data_dir
        asked.append((config, tensorboard))
        reporter.stage("train", "Training")
        reporter.progress(1, 1)
        folder = data / "models" / "run"
        clip = data / "clip 1.flac"
        clip.write_bytes(b"")
        jobs = data / "jobs" / "run"
        jobs.mkdir(parents=True, exist_ok=True)
        (jobs / "clips.csv").write_text(f"path,label,split\nx,1,train\n{clip},1,test\n")
        return {
            "phrase": config.phrase,
            "bundle": str(folder / "run.zip"),
            "model_pt": str(folder / "model.pt"),
            "report": str(folder / "report.html"),
            "seconds": {"plan": 0.2, "synthesize": 61.0, "train": 100.0},
            "counts": {"positive": {"reused": 3, "mined": 0, "generated": 40}},
            "metrics": {
                **dict.fromkeys(("miss_rate", "miss_rate_clean", "miss_rate_noisy", "confusables_accepted"), INTERVAL),
                "fa_per_hour": {"value": 0.4, "low": 0.1, "high": 1.2},
                "test_hours": 2.5,
                "fooled_by": ["hey campus", "a compass"],
            },
            "verdict": {"state": "good", "sentence": "It heard 9 of 10 people.", "advice": "It is ready."},
        }

    monkeypatch.setattr("pipeline.training.run.run_training", run_training)
    return asked


def test_train_prints_its_result_as_json(cli: Cli, trained: Asked) -> None:
    result = cli.json("train", "Hey, Compass!")
    assert set(result) >= {"phrase", "bundle", "model_pt", "report", "seconds", "counts", "metrics"}
    assert trained == [(RunConfig("hey compass", size=size_for(RunConfig("hey compass"))), False)]
    assert "Training" in cli.err


def test_every_option_reaches_the_run(cli: Cli, trained: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", pytest)  # it seems to be installed
    options = (
        "--effort quick --seed 7 --size standard --from-scratch --no-mining --engines espeak,flite --hold-out flite"
    )
    cli("train", "hey", "compass", *options.split(), "--language", "EN_gb", "--tensorboard", "--json")
    expected = RunConfig(
        "hey compass", "en-gb", "quick", 7, "standard", mining=False, from_scratch=True, engines=("espeak", "flite"),
        hold_out="flite",
    )  # fmt: skip
    assert trained == [(expected, True)]
    words = ("--size", "large", "--allow-confusables", "--mining-method", "ctc-segmentation")
    cli("train", "hey", "compass", *words, "--json")
    expected = RunConfig("hey compass", size="large", allow_confusables=True, mining_method="ctc-segmentation")
    assert trained[1] == (expected, False)


def test_train_names_the_files_for_each_device(cli: Cli, trained: Asked, data_dir: Path) -> None:
    bundle = data_dir / "models" / "run" / "run.zip"
    bundle.parent.mkdir(parents=True)
    with zipfile.ZipFile(bundle, "w") as archive:
        for name in ("model.onnx", "detect.py", "openwakeword/hey_compass.tflite"):
            archive.writestr(name, "")
        archive.writestr("report.json", json.dumps({"size": "large"}))
    arguments = ("train", "hey compass", "--no-download", *["--for", "pi", "--for", "esphome", "--for", "openwakeword"])
    shown = cli(*arguments)
    assert trained[-1][0].devices == ("esphome", "openwakeword"), "other devices use the detector of the run"
    assert "venv/bin/python detect.py --mic" in shown and "wyoming --uri tcp://0.0.0.0:10400" in shown
    assert "cp openwakeword/hey_compass.tflite /share/openwakeword" in shown and "--for esphome)" in shown
    assert "bundle-web" not in shown
    said = cli.json(*arguments)["for"]
    assert set(said) == {"esphome", "openwakeword", "pi"} and said["pi"]["files"] == ["detect.py", "model.onnx"]
    assert said["esphome"]["files"] == [] and said["esphome"]["missing"]


def test_a_phrase_in_a_different_script_is_planned(cli: Cli, data_dir: Path) -> None:
    assert "Plan for привет компас" in cli("plan", "Привет Компас", "--language", "ru", "--effort", "trial")


def test_missing_neural_voices_are_installed_first_unless_opted_out(
    cli: Cli, trained: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HARK_NO_DOWNLOAD")
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path / "engines"))
    asked: list[str] = []

    def enable(name: str, report: Callable[[str], None]) -> Path:
        asked.append(name)
        raise HarkError(f"The environment of {name} could not be made.", "The disk is full.", "Free some space.")

    monkeypatch.setattr("core.environments.enable", enable)
    planned = " ".join(cli("plan", "hey compass").split())
    assert "hibari 55 MB, kokoro_int8 80 MB, piper 95 MB" in planned and "--no-download" in planned and not asked
    for options in ("--no-download", "--engines fake", "--effort trial", "--language de"):
        cli("train", "hey compass", *options.split(), "--json")
    assert not asked
    cli("train", "hey compass")  # the run goes on without them
    assert asked == ["hibari"] and "Continuing without hibari: The disk is full." in cli.err and len(trained) == 5
    cli("train", "hey compass", "--size", "standard", "--hold-out", "hibari", code=2)
    assert len(asked) == 2, "only after an attempt to install them"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("train --tensorboard --effort trial", "only sets a threshold"),
        ("train --no-mining --mining-method ctc-segmentation", "which this run does not use"),
        ("plan --for esphome --for pi", "uses the main detector"),
    ],
)
def test_options_without_an_effect_are_rejected(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", pytest)  # it seems to be installed
    name, *options = command.split()
    assert why in cli.refused(name, "hey compass", *options)["why"]


def test_curves_need_tensorboard(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    assert "pip install tensorboard" in cli.refused("train", "hey compass", "--tensorboard")["what_to_do"]


def test_text_output_shows_plan_figures_and_verdict(
    cli: Cli, trained: Asked, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data_dir)
    cli("train", "hey compass", "--effort", "quick", "--engines", "espeak")
    assert "Plan for hey compass" in cli.out and "plain negative" in cli.out
    assert "3.1 %" in cli.out and "1.5 % to 6.0 %" in cli.out and "0.10 to 1.20" in cli.out
    assert "2 min 41 s (synthesize 1 min 1 s, train 1 min 40 s)" in cli.out
    assert "✓ hey compass has its detector\nIt heard 9 of 10 people.\nIt is ready.\n" in cli.out
    assert re.search('triggered by, for example +"hey campus", "a compass"', cli.out)
    lines = cli.out.splitlines()
    assert str(data_dir / "models" / "run" / "run.zip") in lines
    assert str(data_dir / "models" / "run" / "model.pt") in lines
    assert lines[-1].endswith("hark detect models/run/run.zip 'clip 1.flac'"), "a command to try, on an unheard voice"
    assert "Traceback" not in cli.err


def test_a_detector_that_misses_most_utterances_has_no_tick(
    cli: Cli, trained: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INTERVAL, "value", 0.97)
    shown = cli("train", "hey compass")
    assert "✓" not in shown and "✗ hey compass has a detector that misses 97.0 % of it in quiet: do not use it" in shown
    assert "Try it" not in shown and "run.zip" in shown


def test_retrain_needs_only_the_manifest_of_a_bundle(cli: Cli, tmp_path: Path) -> None:
    bundle = keyword_hmm_bundle(tmp_path / "bundle", "hey compass", run="another-machine-s")
    (bundle / "model.onnx").unlink()
    assert "The run another-machine-s was not made in this data folder" in cli.refused("retrain", str(bundle))["why"]
    (bundle / "manifest.json").write_text("{")
    assert "damaged manifest" in cli.refused("retrain", str(bundle))["what"]


@pytest.mark.parametrize("command", ["train", "plan", "advise"])
def test_an_invalid_phrase_is_rejected(cli: Cli, trained: Asked, command: str) -> None:
    cli.refused(command, "hey компас")
    cli(command, "", code=2)
    assert cli.out == "" and "  What to do: " in cli.err
    assert trained == []


def test_a_phrase_with_shell_syntax_is_only_text(cli: Cli, trained: Asked) -> None:
    shown = cli("train", "--", "-- hey [bold]compass[/bold]; $(reboot)")
    assert trained[0][0].phrase == "hey bold compass bold reboot" in shown


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engines", "nobody"], "no speech engine called 'nobody'"),
        (["--engines", "../fake"], "no speech engine called"),
        (["--hold-out", "nobody", "--size", "standard"], "cannot be held out"),
        (["--engines", "espeak", "--hold-out", "fake", "--size", "standard"], "cannot be held out"),
        (["--engines", "espeak,flite", "--hold-out", "flite"], "cannot be held out"),  # nothing is trained
        (["--language", "qqq"], "qqq"),
    ],
)
def test_impossible_options_are_rejected(cli: Cli, command: str, options: list[str], said: str) -> None:
    assert said in cli.refused(command, "hey compass", *options)["what"]


def test_a_plan_counts_clips_and_creates_nothing(cli: Cli, data_dir: Path) -> None:
    words = ("plan", "hey compass", "--effort", "quick", "--engines", "espeak")
    plan = cli.json(*words)
    assert set(plan["buckets"]) == {"positive", "confusable", "inbetween", "plain_negative"}
    assert plan["buckets"]["positive"]["by_engine"] == {"espeak": plan["buckets"]["positive"]["generate"]}
    assert "estimate" in cli(*words)
    assert not (data_dir / "jobs").exists(), "a plan creates nothing"


def test_a_plan_of_a_stopped_run_counts_finished_clips(cli: Cli, data_dir: Path, trained: Asked) -> None:
    words = ("hey compass", "--effort", "quick", "--engines", "espeak")
    config = RunConfig("hey compass", effort="quick", engines=("espeak",), size=size_for(RunConfig("hey compass")))
    plan = plan_run(config, data_dir, silent_reporter())
    save_plan(plan, RunFolder.of(data_dir, config).plan)
    audio = np.linspace(-0.1, 0.1, 1600, dtype=np.float32)
    with Library(data_dir) as library:
        library.add_clips(
            NewClip(audio + n * 1e-5, r.text, r.text, "en", r.engine, request_id=r.request_id)
            for n, r in enumerate(plan.requests[:30])
        )
    planned = len(plan.requests)
    said = f"An unfinished run is here: 30 of {planned} clips are synthesized; it continues by synthesizing the rest."
    for command in ("plan", "train"):
        assert said in cli(command, *words)


def test_advise_rates_the_phrase(cli: Cli) -> None:
    advice = cli.json("advise", "Hey", "Compass!")
    assert advice["normalized"] == "hey compass" and advice["notes"][0]["level"] == "good"
    said = cli("advise", "okay")
    assert "It is" in said and "[" in said and "→" in said


def test_a_long_run_needs_confirmation_at_a_terminal(tmp_path: Path) -> None:
    def at(answers: list[str], *words: str) -> tuple[int, str]:
        command = [*brief_command(tmp_path), "train", "hey compass", *words]
        return at_terminal(command, {"HARK_DATA": str(tmp_path / "data")}, answers)

    code, said = at(["n\n"])
    question = re.search(
        r"Train now\? about \d+ min, up to \d+ clips to synthesize; quick: [^[]+\[y/n/quick\]", flat(said)
    )
    assert question and code == 130 and "No training was started." in said and "it has begun" not in said
    assert "it has begun, hey compass, standard" in at(["\n"])[1]
    code, said = at(["maybe\n", "quick\n"])
    assert "it has begun, hey compass, quick" in said and said.count("Train now?") == 2
    assert "[y/n] " in flat(at(["y\n"], "--effort", "trial")[1]), "no effort is shorter"
    for words in (("--yes",), ("--json",)):
        said = at([], *words)[1]
        assert "it has begun" in said and "Train now?" not in said


def test_a_short_run_needs_no_confirmation(tmp_path: Path) -> None:
    script = SLOW_TRAINING.replace("time.sleep(100)", "raise KeyboardInterrupt").replace("RUN_S = 0", "RUN_S = 1e9")
    command = [*slow_command(tmp_path, script), "train", "hey compass"]
    _, said = at_terminal(command, {"HARK_DATA": str(tmp_path / "data")}, [])
    assert "it has begun" in said and "Train now?" not in said


def test_a_download_needs_confirmation(tmp_path: Path) -> None:
    environment = {
        "HARK_DATA": str(tmp_path / "data"), "HARK_ENGINES_ENV": str(tmp_path / "engines"), "HARK_NO_DOWNLOAD": ""
    }  # fmt: skip
    code, said = at_terminal([*brief_command(tmp_path), "train", "hey compass"], environment, ["n\n"])
    assert code == 130 and "230 MB of neural voices to download, once" in flat(said)
    assert "Installing" not in said and "it has begun" not in said


def flat(said: str) -> str:
    return " ".join(said.split())


TRAIN = ("train", "hey compass", "--effort", "quick", "--engines", "flite,espeak")


def test_a_disk_that_fills_up_is_reported_and_the_library_is_intact(hark: Run, small_disk: Path) -> None:
    """The disk has room for the library and some clips but not for a run."""
    done = hark(*TRAIN, data=small_disk)
    assert_fixable(done)
    assert "disk is full" in done.stderr
    checked = hark("library", "check", "--json", data=small_disk)
    assert checked.returncode == 0 and json.loads(checked.stdout)["ok"]
    again = hark(*TRAIN, "--json", data=small_disk)
    assert again.returncode == 2 and "disk is full" in error_of(again.stdout)["what"]


def test_a_disk_full_from_the_start_is_reported(hark: Run, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    for command in (TRAIN, ("library", "stats"), ("library", "import", str(small_disk))):
        done = hark(*command, data=small_disk / "data")
        assert_fixable(done)
        assert "disk is full" in done.stderr


def test_a_read_only_data_folder_is_reported(
    hark: Run, cli: Cli, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mount("-o", "remount,ro", str(small_disk))
    monkeypatch.setenv("HARK_DATA", str(small_disk))
    try:
        done = hark(*TRAIN, data=small_disk)
        assert_fixable(done)
        assert "no write permission" in done.stderr
        for command in (("library", "stats"), ("plan", "hey compass")):
            cli(*command, code=2)
            said = cli.err
            assert "  Why: " in said and "  What to do: " in said and "no write permission" in said
        found = {finding["name"]: finding for finding in cli.json("doctor", code=2)["findings"]}
        assert found["data folder"]["status"] == "broken"
    finally:
        mount("-o", "remount,rw", str(small_disk))


def test_a_data_folder_that_is_a_file_is_reported(cli: Cli, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    for command in (TRAIN, ("library", "stats")):
        cli(*command, "--data", str(blocked), code=2)
        said = cli.err
        assert "  Why: " in said and "  What to do: " in said
    cli("doctor", "--data", str(blocked), code=2)
