"""``python -m lab hostile``: a thousand damaged or malicious files, opened as Hark opens untrusted input.

A file is refused with a message, or used. Failures are counted: an exception other than the one that users see, a
process that dies or hangs, leftover files and processes, growing memory.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmark import Figures
from benchmark.wakeword_summary import aligned
from core.events import Progress, Reporter
from core.worker_process import WorkerGone, WorkerProcess
from lab import BenchOptions
from lab.chaos.hostile_files import Source, harmful_bundles
from tests.support.processes import descendants, orphans_become_children, resident_kib

FILES = 1000
MAX_DURATION_S = 120.0  # seconds allowed for opening a file, on an idle machine
HARMFUL_S = 240.0  # seconds until Hark must have stopped a model: it may load and run for a minute each
WARM_UP = 5  # files of each kind before memory is measured, because the first ones load libraries
SENTENCES = ("what", "why", "what_to_do")
MAX_SENTENCE_LENGTH = 2000
DOOR_OF = {
    "zip": "corpus", "tar": "corpus", "tar.gz": "corpus", "tar.bz2": "corpus", "archive that leads out": "corpus",
    "bundle (zip)": "bundle", "bundle (model.onnx)": "bundle", "bundle (manifest)": "bundle",
    "checkpoint (.pt)": "checkpoint", "weights (.safetensors)": "weights",
}  # fmt: skip
SOUND = "sound"  # the door for audio, documents and playlists
DOORS = (SOUND, *dict.fromkeys(DOOR_OF.values()))
HARMFUL = "model that never ends"
WORKER = (sys.executable, "-m", "lab.chaos.hostile_doors")


@dataclass
class Count:
    """Counts of outcomes for one kind of file; ``defects`` describes each failure."""

    files: int = 0
    refused: int = 0
    used: int = 0
    tracebacks: int = 0
    files_left: int = 0
    processes_left: int = 0
    growth_mib: float | None = None
    seconds: float = 0.0
    defects: list[str] = field(default_factory=list)


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    return opened(options.seed, FILES, reporter)


def opened(seed: int, files: int, reporter: Reporter, harmful: bool = True) -> Figures:
    """Open at least ``files`` files, equally many of each kind; return counts by kind, and the library's state.

    Archives are imported into the library.

    Args:
        harmful: also open models that never end, which take minutes each.
    """
    with tempfile.TemporaryDirectory(prefix="hark-hostile-") as folder, orphans_become_children():
        place = Path(folder)
        kinds = Source(place / "made", seed).kinds()
        share = math.ceil(files / len(kinds))
        progress = Progress(reporter, share * len(kinds))
        counts: dict[str, Count] = {}
        with ExitStack() as stack:
            openers = {door: stack.enter_context(_Opener(place / "work", door)) for door in DOORS}
            for name, make in kinds.items():
                reporter.stage("hostile", f"Opening: {name}")
                counts[name] = Count()
                for number in range(share):
                    sample = make(Random(f"{seed} {name} {number}"), number)
                    path = place / sample.name
                    path.write_bytes(sample.content)
                    openers[DOOR_OF.get(name, SOUND)].open(path, counts[name], MAX_DURATION_S)
                    path.unlink()
                    progress.advance()
                reporter.log(f"{name}: {counts[name].refused} refused, {counts[name].used} used", _level(counts[name]))
        if harmful:
            reporter.stage("hostile", f"Opening: {HARMFUL}")
            counts[HARMFUL] = Count()
            for path in harmful_bundles(place / "harmful"):  # each in a new process, as on the command line
                with _Opener(place / "work", "bundle") as opener:
                    opener.open(path, counts[HARMFUL], HARMFUL_S)
        return {"kinds": {name: vars(count) for name, count in counts.items()}, **_library(place / "work" / "data")}


def _library(data: Path) -> Figures:
    """Return the number of imported clips, and the library's problems."""
    from db.checking import check_library
    from db.db_api import Library

    with Library(data) as library:
        report = check_library(library, left_over_after_s=0.0)
    return {"clips": report.clips, "library_problems": [f"{one.kind}: {one.what}" for one in report.problems]}


def _level(count: Count) -> str:
    return "warning" if count.defects else "info"


class _Opener:
    """A process that opens files, and a record of what each file leaves behind."""

    def __init__(self, folder: Path, door: str) -> None:
        self._door, self._folder = door, folder
        self._data, self._temporary = folder / "data", folder / "tmp"
        for path in (self._data, self._temporary):
            path.mkdir(parents=True, exist_ok=True)
        self._worker: WorkerProcess | None = None
        self._before_kib = 0

    def __enter__(self) -> _Opener:
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker is not None:
            self._worker.kill()

    def open(self, path: Path, count: Count, timeout_s: float) -> None:
        """Open one file in the process, and count the outcome."""
        worker = self._worker = self._worker or self._start()
        others = set(descendants(os.getpid()))
        before = self._files()
        count.files += 1
        started = time.monotonic()
        worker.send({"id": path.name, "door": self._door, "path": str(path), "data": str(self._data)})
        try:
            answer = worker.answer(path.name, timeout_s)
        except WorkerGone as error:
            answer = {"why": str(error)}
            worker.kill()
            self._worker, self._before_kib = None, 0
        count.seconds = round(count.seconds + time.monotonic() - started, 1)
        defects = list(_judged(count, answer))
        if left := sorted(self._files() - before):
            count.files_left += len(left)
            defects.append(f"files left: {', '.join(left)[:300]}")
        if left_processes := set(descendants(os.getpid())) - others:
            count.processes_left += len(left_processes)
            defects.append(f"processes left: {len(left_processes)}")
        count.defects += [f"{path.name}: {defect}"[:600] for defect in defects]
        if self._worker is not None:
            self._look_at_memory(count)

    def _look_at_memory(self, count: Count) -> None:
        assert self._worker is not None
        if count.files == WARM_UP:
            self._before_kib = resident_kib(self._worker.pid)
        elif count.files > WARM_UP and self._before_kib:
            count.growth_mib = round((resident_kib(self._worker.pid) - self._before_kib) / 1024, 1)

    def _files(self) -> set[str]:
        """Return all files here except the library and its clips; opening a file may leave no others."""
        paths = (path.relative_to(self._folder) for path in self._folder.rglob("*") if path.is_file())
        return {str(path) for path in paths if not str(path).startswith(("data/library.sqlite3", "data/clips/"))}

    def _start(self) -> WorkerProcess:
        temporary = {"TMPDIR": str(self._temporary), "HARK_DATA": str(self._data)}
        return WorkerProcess("what opens files", list(WORKER), temporary, start_timeout_s=60.0)


def _judged(count: Count, answer: dict[str, Any]) -> Iterator[str]:
    """Count the outcome, and yield its defects."""
    refused = answer.get("refused")
    if answer.get("event") == "done" and refused is None:
        count.used += 1
    elif answer.get("event") == "done" and refused and all(_is_sentence(refused[name]) for name in SENTENCES):
        count.refused += 1
    else:
        count.tracebacks += 1
        yield f"no usable error message: {refused}" if refused else str(answer.get("why"))


def _is_sentence(text: str) -> bool:
    return 0 < len(text) <= MAX_SENTENCE_LENGTH and text.isprintable() and "Traceback" not in text


def table(figures: Figures) -> str:
    """Format the figures of :func:`run`, and the defects."""
    columns = ("files", "refused", "used", "tracebacks", "files_left", "processes_left", "growth_mib", "seconds")
    rows = [("", *(column.replace("_", " ").replace("mib", "MiB") for column in columns))]
    kinds = figures["kinds"]
    for name, counts in kinds.items():
        rows.append((name, *("-" if counts[column] is None else f"{counts[column]:g}" for column in columns)))
    totals = [sum(counts[column] or 0 for counts in kinds.values()) for column in columns]
    rows.append(("all", *("" if column == "growth_mib" else f"{total:g}" for column, total in zip(columns, totals))))
    wrong = [f"{name}, {defect}" for name, counts in kinds.items() for defect in counts["defects"]]
    problems = figures["library_problems"]
    summary = f"problems of the library: {len(problems)} ({figures['clips']} clips)"
    return "\n".join([*aligned(rows), summary, *problems, *wrong])
