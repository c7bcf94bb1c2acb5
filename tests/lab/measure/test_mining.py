"""``mining`` and ``audio`` run on a small part of the shared audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import HarkError
from core.events import silent_reporter
from lab import BenchOptions, run_measurement
from lab.measure import mining
from tests.support.constants import replace_in


@pytest.mark.parametrize("name", ["audio", "mining"])
def test_missing_recordings_are_reported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SHARED", str(tmp_path / "nowhere"))
    with pytest.raises(HarkError):
        run_measurement(name, BenchOptions(), silent_reporter())


def test_boundary_errors_have_median_and_bias() -> None:
    figures = mining._errors(np.asarray([(0.02, -0.2), (-0.04, 0.0), (0.02, 0.0)]))
    assert figures["start_median_ms"] == 20 and figures["start_bias_ms"] == 20 and figures["end_beyond_100_ms"] > 0.3


def test_a_small_mining_measurement_runs(shared_data: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mining.manifest_rows
    replace_in(mining, monkeypatch, HOURS=0.1, ALIGNED_CLIPS=4, TIMED_S=30.0, CHOICES=4)
    replace_in(mining, monkeypatch, manifest_rows=lambda folder: rows(folder)[:60])
    figures = run_measurement("mining", BenchOptions(phrase="the"), silent_reporter())
    assert figures["emissions"]["times_real_time_a_core"] > 10
    assert figures["boundaries"]["viterbi"]["start_median_ms"] < 40
    assert figures["queries"]["cuts"] > 0 and figures["queries"]["recordings_with_it"] > 5
