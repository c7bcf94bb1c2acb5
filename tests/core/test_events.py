"""A run's estimates of its remaining time."""

from __future__ import annotations

import pytest

from core import events
from core.events import Event, Pace, Progress, Reporter, RunEta


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The current time [s], as a list of one element."""
    now = [100.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: now[0])
    return now


def test_the_remaining_time_is_shown_once_enough_steps_are_timed(clock: list[float]) -> None:
    pace = Pace(100)
    assert pace.left_s() is None
    clock[0] += 60  # a model was loaded
    pace.advance()
    assert pace.left_s() is None
    for _ in range(9):
        clock[0] += 0.5
        pace.advance()
        assert pace.left_s() is None, "4.5 seconds are too few for an estimate"
    clock[0] += 0.5
    pace.advance()
    assert pace.left_s() == pytest.approx(0.5 * 89), "loading does not count"
    pace.advance(89)
    assert pace.left_s() == 0.0


def test_a_short_series_is_estimated_after_fewer_steps(clock: list[float]) -> None:
    pace = Pace(3)
    pace.advance()
    clock[0] += 20
    pace.advance()
    assert pace.left_s() is None
    clock[0] += 20
    assert pace.left_s() == pytest.approx(40)


def test_the_slowest_pace_sets_the_estimate(clock: list[float]) -> None:
    told: list[Event] = []
    progress = Progress(Reporter(told.append), 100)
    quick, slow = Pace(50), Pace(50)
    for _ in range(10):
        clock[0] += 1.0
        quick.advance()
        progress.advance(paces=(quick, slow))
    assert [event["eta_s"] for event in told] == [None] * 10, "the slow part has not been timed"
    for _ in range(6):
        clock[0] += 3.0
        slow.advance()
        progress.advance(paces=(quick, slow))
    assert told[-1]["eta_s"] == pytest.approx(3.0 * 44) and told[-1]["done"] == 16


def estimates(told: list[Event]) -> list[tuple[float, float, float]]:
    return [(event["seconds"], event["done"], event["stage_done"]) for event in told]


def test_the_estimate_scales_with_the_time_spent(clock: list[float]) -> None:
    told: list[Event] = []
    outlook = RunEta(Reporter(told.append), {"speak": 120.0, "hear": 180.0, "train": 300.0}, 600.0)
    assert estimates(told) == [(600, 0.0, 0.2)]
    clock[0] += 300  # another program is at work: 240 s longer than the 120 s with a minute for loading
    outlook.over("speak")
    clock[0] += 420
    outlook.over("hear")
    clock[0] += 600
    outlook.over("train")
    assert estimates(told)[1:] == [(960, 0.2, 0.5), (650, 0.5, 1.0), (0, 1.0, 1.0)]


def test_a_fast_stage_does_not_shorten_the_other_stages(clock: list[float]) -> None:
    told: list[Event] = []
    outlook = RunEta(Reporter(told.append), {"speak": 300.0, "train": 300.0}, 600.0)
    clock[0] += 10
    outlook.over("speak")
    assert told[-1]["seconds"] == 300


def test_a_continued_run_counts_its_finished_part(clock: list[float]) -> None:
    told: list[Event] = []
    RunEta(Reporter(told.append), {"speak": 0.0, "train": 150.0}, 600.0)
    assert estimates(told) == [(150, 0.75, 0.75)]
