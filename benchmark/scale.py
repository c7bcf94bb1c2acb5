"""``./hark bench scale``: a simulation of 100,000 hours that up to 1,000 workers import and align.

What a job takes is measured (docs/scaling.md); what workers share is a station at which they wait in line: the lock of
the portal's database, that of the clip library, the disk or object store. It says which of them ends the speed-up.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmark import BenchOptions, Figures
from benchmark.wakeword_summary import aligned
from core.events import Reporter

HOURS = 100_000
WORKERS = (1, 10, 100, 1000)
HOURS_A_JOB = 1.0  # 500 utterances of seven seconds


@dataclass(frozen=True)
class Station:
    """What a job needs one after the other. ``places`` jobs are served there at a time, all others wait in line; None:
    it is the worker's own. ``exponential``: service takes ``mean_s`` on average, else always."""

    name: str
    mean_s: float
    places: int | None = 1
    exponential: bool = False


LIBRARIES = (1, 16)  # clip libraries that the hours are spread over; each has one writer at a time


def stations(libraries: int) -> tuple[Station, ...]:
    """Of a job, with an hour of speech: a core of two of 2026, PostgreSQL and a store of 1 GB/s on other machines."""
    return (
        Station("take a job: portal", 0.002),
        Station("decode, hear and align: worker", 50.0, None, exponential=True),
        Station("write 63 MB of FLAC, 3 MB of emissions: store", 0.066),
        Station("write rows of clips, words and phones: libraries", 0.4, libraries),
        Station("end a job: portal", 0.008),
    )


SHARED = {"end a job: portal": "take a job: portal"}  # a station that has its places in common with another


@dataclass
class Run:
    """What a simulation gave [s]: when the last job ended, how long jobs waited for a worker on average, and by
    station."""

    end_s: float = 0.0
    jobs: int = 0
    waited_s: float = 0.0
    at: dict[str, float] = field(default_factory=dict)  # waited at a station, on average
    busy: dict[str, float] = field(default_factory=dict)  # share of the time that its places were taken


def simulated(arrivals: Iterable[float], workers: int, job: Sequence[Station], seed: int) -> Run:
    """Jobs that arrive at these times [s, rising], each done by one of the workers, first come, first served."""
    rng = random.Random(seed)
    events = [(time, number, 0) for number, time in enumerate(arrivals)]  # when, which job, before which station
    heapq.heapify(events)
    arrived = {number: time for time, number, _ in events}
    waiting: deque[int] = deque()
    places = {one.name: [0.0] * one.places for one in job if one.places and one.name not in SHARED}
    run, idle = Run(jobs=len(events)), workers
    waits, work = dict.fromkeys(places, 0.0), dict.fromkeys(places, 0.0)
    begun: set[int] = set()
    while events:
        time, which, at = heapq.heappop(events)
        if which not in begun:
            if not idle:
                waiting.append(which)
                continue
            idle -= 1
            begun.add(which)
            run.waited_s += time - arrived[which]
        if at == len(job):
            run.end_s, idle = time, idle + 1
            if waiting:
                heapq.heappush(events, (time, waiting.popleft(), 0))
            continue
        station = job[at]
        takes = rng.expovariate(1 / station.mean_s) if station.exponential else station.mean_s
        start, name = time, SHARED.get(station.name, station.name)
        if station.places:
            start = max(time, places[name][0])
            heapq.heapreplace(places[name], start + takes)
            waits[name] += start - time
            work[name] += takes
        heapq.heappush(events, (start + takes, which, at + 1))
    run.waited_s /= run.jobs
    run.at = {name: waited / run.jobs for name, waited in waits.items()}
    run.busy = {name: worked / run.end_s / len(places[name]) for name, worked in work.items()}
    return run


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Of each number of workers and libraries: days, how many times as fast as one worker, and how busy what they share
    is."""
    jobs = round(HOURS / HOURS_A_JOB)
    rows = []
    for libraries in LIBRARIES:
        job = stations(libraries)
        alone = jobs * sum(station.mean_s for station in job)
        for number in WORKERS:
            reporter.stage("scale", f"{number} workers, {libraries} libraries")
            found = simulated([0.0] * jobs, number, job, options.seed)
            rows.append(
                {
                    "workers": number,
                    "libraries": libraries,
                    "days": round(found.end_s / 86400, 2),
                    "times_as_fast": round(alone / found.end_s, 1),
                    "busy": {name.rpartition(": ")[2]: round(share, 3) for name, share in found.busy.items()},
                }
            )
    return {"hours": HOURS, "jobs": jobs, "rows": rows}


def table(figures: Figures) -> str:
    """The figures of :func:`run` for people."""
    shared = list(figures["rows"][0]["busy"])
    rows = [("workers", "libraries", "days", "times as fast", *(f"busy: {name}" for name in shared))]
    for found in figures["rows"]:
        busy = (f"{100 * found['busy'][name]:.0f} %" for name in shared)
        rows.append((*(str(found[name]) for name in ("workers", "libraries", "days", "times_as_fast")), *busy))
    return "\n".join([*aligned(rows), f"{figures['hours']:,} hours in {figures['jobs']:,} jobs"])
