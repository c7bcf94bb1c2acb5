"""The command ``evaluate``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from model.metrics import poisson_interval, wilson_interval
from tests.support.command_line_samples import Cli
from tests.support.sounds import tone
from tests.support.wakeword_samples import tone_bundle

THRESHOLDS = [{"fa_per_day": 12.0, "threshold": 0.5}, {"fa_per_day": 2.0, "threshold": 0.95}]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tone_bundle(tmp_path / "bundle", gain=44.0, thresholds=THRESHOLDS)  # its score of the tone is 0.99


@pytest.fixture
def positives(tmp_path: Path) -> Path:
    """Loud, less loud and faint recordings, and one with the phrase twice."""
    folder = tmp_path / "positives"
    (folder / "anna").mkdir(parents=True)
    write_audio(folder / "anna" / "loud.wav", tone(0.6, 1000))
    write_audio(folder / "less.wav", tone(0.6, 1000, 0.25))
    write_audio(folder / "faint.wav", tone(0.6, 1000, 0.01))
    pause = np.zeros(4 * SAMPLE_RATE, np.float32)
    write_audio(folder / "twice.wav", np.concatenate([tone(0.6, 1000), pause, tone(0.6, 1000)]))
    return folder


@pytest.fixture
def negatives(tmp_path: Path) -> Path:
    """A minute of another tone that contains the phrase's tone, less loud."""
    folder = tmp_path / "negatives"
    folder.mkdir()
    minute = tone(60.0, 300)
    minute[30 * SAMPLE_RATE : 31 * SAMPLE_RATE] = tone(1.0, 1000, 0.25)
    write_audio(folder / "talk.flac", minute)
    return folder


def test_evaluate_counts_misses_and_false_alarms_at_each_threshold(
    cli: Cli, bundle: Path, positives: Path, negatives: Path
) -> None:
    given = ("evaluate", str(bundle), "--positives", str(positives), "--negatives", str(negatives))
    result = cli.json(*given)
    assert result["phrase"] == "computer" and result["positives"] == {"recordings": 4}
    assert result["negatives"] == {"recordings": 1, "hours": round(1 / 60, 4)} and result["default_fa_per_day"] == 12.0
    usual, strict = result["thresholds"]
    assert (usual["fa_per_day"], strict["fa_per_day"]) == (12.0, 2.0)
    assert usual["missed"] == [str(positives / "faint.wav")] and usual["duplicates"] == 1
    assert usual["miss_rate"] == wilson_interval(1, 4).as_dict()
    assert usual["fa_per_hour"] == poisson_interval(1, 1 / 60).as_dict()
    (alarm,) = usual["false_alarms"]
    assert alarm["file"] == str(negatives / "talk.flac") and alarm["time_s"] == pytest.approx(30.16, abs=0.09)
    assert len(strict["missed"]) == 2 and strict["false_alarms"] == [] and strict["fa_per_hour"]["value"] == 0
    shown = cli(*given)
    assert "12 (usual)" in shown and "1: 25.0 % (4.6 – 69.9)" in shown and "1: 60.00" in shown
    assert "missed       " in shown and "false alarm  " in shown


def test_a_usual_rate_that_the_table_lacks_has_its_own_row(cli: Cli, positives: Path, tmp_path: Path) -> None:
    bundle = tone_bundle(tmp_path / "bundle", gain=44.0, thresholds=THRESHOLDS, default_fa_per_day=3.0)
    given = ("evaluate", str(bundle), "--positives", str(positives))
    result = cli.json(*given)
    assert [row["fa_per_day"] for row in result["thresholds"]] == [12.0, 3.0, 2.0]
    loose, usual, _ = result["thresholds"]
    assert 0.5 < usual["threshold"] < 0.95 and len(loose["missed"]) < len(usual["missed"]) == 2
    shown = cli(*given)
    assert "3 (usual)" in shown and shown.count("\nmissed       ") == 2


def test_one_folder_is_enough_and_an_unreadable_file_is_reported(
    cli: Cli, bundle: Path, positives: Path, negatives: Path
) -> None:
    result = cli.json("evaluate", str(bundle), "--negatives", str(negatives))
    assert result["positives"] == {"recordings": 0} and result["thresholds"][0]["miss_rate"]["value"] is None
    (positives / "broken.wav").write_bytes(b"no audio")
    result = cli.json("evaluate", str(bundle), "--positives", str(positives), code=2)
    assert [Path(error["file"]).name for error in result["errors"]] == ["broken.wav"]
    assert result["positives"] == {"recordings": 4} and result["thresholds"][0]["fa_per_hour"]["value"] is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Neither --positives"),
        (["--positives", "{empty}"], "contains no audio"),
        (["--negatives", "{empty}/gone"], "does not exist"),
    ],
)
def test_missing_recordings_are_reported(cli: Cli, bundle: Path, tmp_path: Path, words: list[str], why: str) -> None:
    (tmp_path / "empty").mkdir()
    given = (word.format(empty=tmp_path / "empty") for word in words)
    assert why in cli.refused("evaluate", str(bundle), *given)["why"]
