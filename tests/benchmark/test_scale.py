"""The simulation of many workers: small cases against formulas of queueing theory."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest

from benchmark import scale
from benchmark.scale import Station, simulated, stations


def erlang_c_wait_s(rate: float, mean_s: float, servers: int) -> float:
    """The mean wait in an M/M/c queue [s]: Erlang's C formula."""
    load = rate * mean_s
    full = load**servers / math.factorial(servers) * servers / (servers - load)
    waits = full / (sum(load**n / math.factorial(n) for n in range(servers)) + full)
    return waits * mean_s / (servers - load)


@pytest.mark.parametrize(("servers", "rate"), [(1, 0.6), (3, 1.8)])
def test_waits_are_those_of_an_m_m_c_queue(servers: int, rate: float) -> None:
    rng = random.Random(1)
    arrivals = list(accumulate(rng.expovariate(rate) for _ in range(60_000)))
    found = simulated(arrivals, servers, [Station("work", 1.0, None, exponential=True)], 2)
    assert found.waited_s == pytest.approx(erlang_c_wait_s(rate, 1.0, servers), rel=0.1)


def test_workers_that_share_nothing_are_as_much_faster_as_they_are_many() -> None:
    found = simulated([0.0] * 100, 10, [Station("work", 3.0, None)], 0)
    assert found.end_s == pytest.approx(30.0)


def test_what_all_need_bounds_the_speed() -> None:
    found = simulated([0.0] * 500, 100, [Station("work", 1.0, None), Station("lock", 0.1)], 0)
    assert found.end_s == pytest.approx(51.0) and found.busy["lock"] == pytest.approx(50 / 51)


def test_taking_and_ending_a_job_share_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulated([0.0] * 4, 2, stations(1), 0)
    assert len(found.at) == len(found.busy) == 3, "the portal, the store, the libraries"
    monkeypatch.setattr(scale, "HOURS", 50)
    monkeypatch.setattr(scale, "WORKERS", (1, 4))
    figures = scale.run(scale.BenchOptions(), scale.Reporter(lambda event: None))
    assert figures["rows"][1]["days"] < figures["rows"][0]["days"] and len(figures["rows"]) == 4
    assert "busy: store" in scale.table(figures)
