"""The processors of this machine."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The processors that this process may use: not all where it is kept to some (taskset, a container's cpuset)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
