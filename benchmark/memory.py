"""Resident memory of processes, from /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path

LOOK_EVERY_S = 0.1


def resident_kib(process: int) -> int:
    """Resident memory [KiB] of a process and its descendants; 0 where there is no /proc."""
    return sum(_tree(process).values())


def descendants(process: int) -> list[int]:
    """Processes that a process has started, and those that these have; none that has ended and is not yet waited for.

    Empty where there is no /proc.
    """
    return [number for number, size in _tree(process).items() if size and number != process]


def _tree(process: int) -> dict[int, int]:
    """Resident memory [KiB] of a process and each of its descendants; those that have ended have 0."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended meanwhile
        number = int(status.parent.name)
        parents[number] = int(fields["PPid"])
        sizes[number] = int(fields.get("VmRSS", "0 kB").split()[0])
    found: dict[int, int] = {}
    wanted = [process]
    while wanted:
        parent = wanted.pop()
        found[parent] = sizes.get(parent, 0)
        wanted += [number for number, of in parents.items() if of == parent]
    return found


def resident_mib() -> int:
    """Resident memory [MiB] of this process and its descendants."""
    return round(resident_kib(os.getpid()) / 1024)


class PeakMemory:
    """The largest resident memory [KiB] of a process and its descendants during a ``with`` block.

    Shared pages count for each process, so it is an upper bound.
    """

    def __init__(self, process: int) -> None:
        self.peak_kib = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.peak_kib = max(self.peak_kib, resident_kib(self._process))
