"""The processors of this machine."""

from __future__ import annotations

import os

MAX_CROWDING = 5.0  # maximum factor; a time limit must still detect a hang on a busy machine


def usable_cores() -> int:
    """Return the number of processors this process may use: fewer than all under taskset or a container's cpuset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crowding() -> float:
    """Return the factor by which work may take longer than on an idle machine, from 1 to :data:`MAX_CROWDING`.

    It is the load average of the last minute (processes that run, or wait for a core or a disk) per core.
    """
    try:
        waiting = os.getloadavg()[0]
    except (AttributeError, OSError):  # not every system has a load average
        return 1.0
    return min(MAX_CROWDING, max(1.0, waiting / (os.cpu_count() or 1)))
