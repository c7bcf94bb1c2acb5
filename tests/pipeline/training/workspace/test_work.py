"""The clock of a run's stages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.training.workspace.work import StageClock


def test_stage_times_add_up_over_restarts_and_failures(tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    for _ in range(2):
        clock = StageClock(path)
        with pytest.raises(RuntimeError), clock.stage("train"):
            time.sleep(0.03)
            raise RuntimeError
    assert 0.05 <= StageClock(path).seconds["train"] < 1


def test_a_damaged_clock_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "seconds.json").write_text("")
    assert StageClock(tmp_path / "seconds.json").seconds == {}
