"""What a run tells of the time that is left."""

from __future__ import annotations

import pytest

from core import events
from core.events import Event, Pace, Progress, Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time [s], in a list of one."""
    now = [100.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: now[0])
    return now


def test_a_time_is_told_once_it_is_no_guess(clock: list[float]) -> None:
    pace = Pace(100)
    assert pace.left_s() is None
    clock[0] += 60  # a model was loaded
    pace.advance()
    assert pace.left_s() is None
    for _ in range(9):
        clock[0] += 0.5
        pace.advance()
        assert pace.left_s() is None, "4.5 seconds say little"
    clock[0] += 0.5
    pace.advance()
    assert pace.left_s() == pytest.approx(0.5 * 89), "loading does not count"
    pace.advance(89)
    assert pace.left_s() == 0.0


def test_few_have_to_be_waited_for(clock: list[float]) -> None:
    pace = Pace(3)
    pace.advance()
    clock[0] += 20
    pace.advance()
    assert pace.left_s() is None
    clock[0] += 20
    assert pace.left_s() == pytest.approx(40)


def test_the_slowest_decides(clock: list[float]) -> None:
    told: list[Event] = []
    progress = Progress(Reporter(told.append), 100)
    quick, slow = Pace(50), Pace(50)
    for _ in range(10):
        clock[0] += 1.0
        quick.advance()
        progress.advance(paces=(quick, slow))
    assert [event["eta_s"] for event in told] == [None] * 10, "nothing is known of the slow one"
    for _ in range(6):
        clock[0] += 3.0
        slow.advance()
        progress.advance(paces=(quick, slow))
    assert told[-1]["eta_s"] == pytest.approx(3.0 * 44) and told[-1]["done"] == 16
