"""The processors of this machine."""

from __future__ import annotations

import os

MOST_CROWDING = 5.0  # what hangs is to be found on a busy machine, too


def usable_cores() -> int:
    """The processors that this process may use: not all where it is kept to some (taskset, a container's cpuset)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crowding() -> float:
    """How many times longer than on an idle machine work may take: what wants to run or to read, for each core of the
    machine, in the last minute; 1 where there are cores enough, at most :data:`MOST_CROWDING`."""
    try:
        waiting = os.getloadavg()[0]
    except (AttributeError, OSError):  # not every system counts it
        return 1.0
    return min(MOST_CROWDING, max(1.0, waiting / (os.cpu_count() or 1)))
