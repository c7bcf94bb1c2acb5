"""``./hark bench NAME``: measurements for docs/results.md, one module each; no test asserts their figures."""

from __future__ import annotations

import csv
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data_folder import REPOSITORY
from core.database_url import DATABASE
from core.errors import HarkError
from core.events import Reporter
from core.processors import usable_cores
from core.settings_file import CHOSEN

Figures = dict[str, Any]


@dataclass(frozen=True)
class BenchOptions:
    """What a measurement may be asked for; each uses what concerns it."""

    seed: int = 0
    engines: tuple[str, ...] = ()  # empty: all that are used by default and ready
    phrase: str = "hey compass"
    effort: str = "quick"
    bundles: tuple[Path, ...] = ()
    anchors: int = 400  # confusables: phrases of LibriPhrase, about
    minutes: int = 60  # load: of mixed use
    servers: bool = False  # kills: on those of the environment
    pairs: Path | None = None  # confusables: the folder that LibriPhrase's pairs are written to
    fetch: Path | None = None  # wakeword: the folder of public audio, which is fetched where it is missing


# Modules with a table of their own for people.
TABLES = {
    "wakeword": "wakeword_summary",
    "confusables": "confusables",
    "loop": "loop",
    "hostile": "hostile",
    "kills": "kills",
    "disk": "disk",
    "load": "load",
    "workers": "workers",
    "scale": "scale",
}

TAKE_BUNDLES = ("wakeword", "confusables", "loop")

# Name: what it measures, for the command line's help. Each is a module of this package.
BENCHMARKS = {
    "engines": "clips a second of each speech engine, persistent against one process a phrase",
    "features": "log-mel features: times real time on one core",
    "detector": "a detector's share of one core and its size, for each size and form",
    "training": "a whole training run: seconds by stage and memory",
    "asr": "the shipped recognizer's word and character errors, its speed and memory (needs the shared audio)",
    "audio": "engines of recognition: speed and memory; word errors of those that are trained (needs the shared audio)",
    "diarization": "speakers told apart: error rate, number found, speed (needs the shared audio)",
    "questions": "answers found to 30 questions on real transcripts (needs the shared audio)",
    "mining": "emissions, alignment and mining: speed, size, accuracy, a library of 100 h (needs the shared audio)",
    "wakeword": "bundles on real recordings of their phrase (needs the shared audio, see HARK_SHARED, or --fetch)",
    "confusables": "phrases told from near ones: LibriPhrase, and near-phrases of bundles (needs the shared audio)",
    "loop": "bundles in a simulated household: misses and false alarms before and after devices sent what they heard",
    "portal": "the portal's pages with many clips, jobs and detectors",
    "hostile": "a thousand files that are damaged or mean harm: refused in words or used, and what is left of them",
    "kills": "200 jobs of a portal whose processes are killed at random: what is lost, doubled and left",
    "disk": "jobs of a portal whose disk is full in each of their stages: what is said, and what is lost (as root)",
    "load": "a hundred uploads beside twenty live transcriptions, then an hour at the highest rate that a portal holds",
    "workers": "an import of the portal by one, two and four workers: seconds, and how many times as fast",
    "scale": "a simulation of 100,000 hours that 1 to 1,000 workers import and align",
}


@contextmanager
def on_one_core() -> Iterator[None]:
    """torch works on one core meanwhile: times are then those of a core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def without_servers() -> None:
    """Forget this machine's database and queue: a benchmark's libraries and portals are its own, in folders that go."""
    os.environ[CHOSEN] = ""  # or the portal's settings would read them from the file again
    for server in (DATABASE, "REDIS_URL"):
        os.environ.pop(server, None)


def measure(name: str, options: BenchOptions, reporter: Reporter) -> Figures:
    """Run a benchmark by its name (one of :data:`BENCHMARKS`). Raises HarkError for what the user can mend."""
    module: Any = importlib.import_module(f"benchmark.{name}")
    figures: Figures = module.run(options, reporter)
    return figures


def shared_folder() -> Path:
    """The folder of real audio. Raises HarkError where it is absent."""
    folder = Path(os.environ.get("HARK_SHARED") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        raise HarkError(
            "The real recordings for this benchmark are not here.",
            f"There is no folder {folder}.",
            "Point HARK_SHARED at a folder laid out like it (keyphrases/<phrase>/*.ogg, speech/, noise/); "
            "./hark bench wakeword --fetch FOLDER makes one.",
        )
    return folder


def manifest_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a corpus's ``manifest.jsonl``. Raises OSError, ValueError."""
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def transcripts(folder: Path) -> dict[str, str]:
    """The rows of a corpus's ``transcripts.tsv``: what is said by the recording's name without ending. Raises
    OSError."""
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as lines:
        return {row[0]: row[1] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row}


def commit() -> str:
    """The commit that is measured, with ``-dirty`` where files differ from it; "unknown" outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "gpu": _gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "Apple MPS" if sys.platform == "darwin" and torch.backends.mps.is_available() else None
