"""Measurements for Hark's developers, and training of the shipped weights (lab/README.md)."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import Figures
from command_line.bench import IN_LAB
from core.events import Reporter
from core.settings.database_url import DATABASE
from core.settings.file import CHOSEN
from tests.support.processes import resident_kib

LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class BenchOptions:
    """Options of all measurements; ``Measurement.takes`` names those that each one uses."""

    seed: int = 0
    engines: tuple[str, ...] = ()  # empty: all that are ready and used by default
    phrase: str = "something"  # phrase to mine
    bundles: tuple[Path, ...] = ()
    anchors: int = 400  # approximate number of phrases of LibriPhrase
    pairs: Path | None = None  # the folder for LibriPhrase's pairs
    minutes: int = 60  # minutes of mixed use
    servers: bool = False  # use the environment's servers


@dataclass(frozen=True)
class Measurement:
    """A measurement of ``python -m lab NAME``.

    Attributes:
        module: has ``run(options, reporter)``, and ``table(figures)`` if the figures have their own table.
        what: its description, for the help.
        takes: the fields of :class:`BenchOptions` that it uses besides the seed.
    """

    module: str
    what: str
    takes: tuple[str, ...] = ()


MEASUREMENTS = {
    "confusables": Measurement("measure.confusables", IN_LAB["confusables"], ("bundles", "anchors", "pairs")),
    "detector": Measurement("measure.detector", IN_LAB["detector"]),
    "mining": Measurement("measure.mining", IN_LAB["mining"], ("phrase",)),
    "engines": Measurement("measure.engines", "clips per second of each speech engine", ("engines",)),
    "audio": Measurement("measure.audio", "recognition engines: speed, memory and word errors", ("engines",)),
    "portal": Measurement("measure.portal", "latency of the portal's pages with many clips, jobs and detectors"),
    "hostile": Measurement("chaos.hostile", "a thousand damaged or malicious files"),
    "kills": Measurement(
        "chaos.kills", "lost and duplicated results of 200 jobs whose processes are killed at random", ("servers",)
    ),
    "load": Measurement(
        "chaos.load", "a flood of uploads, and the highest rate of mixed requests that a portal handles", ("minutes",)
    ),
}


def run_measurement(name: str, options: BenchOptions, reporter: Reporter) -> Figures:
    """Run one of :data:`MEASUREMENTS`. Raises HarkError if it fails for a reason that the user can fix."""
    module: Any = importlib.import_module(f"lab.{MEASUREMENTS[name].module}")
    figures: Figures = module.run(options, reporter)
    return figures


def without_servers() -> None:
    """Ignore this machine's database and queue: a measurement uses its own libraries and portals."""
    os.environ[CHOSEN] = ""  # otherwise the portal's settings would read them from the file again
    for server in (DATABASE, "REDIS_URL"):
        os.environ.pop(server, None)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Run torch on one core within the block, so that times are those of one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
