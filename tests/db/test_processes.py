"""Four simultaneous writers and a kill: nothing that was reported as stored is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from core.data_folder import REPOSITORY
from db.checking import check_library
from db.db_api import Library

# Prints each request id once its clip is stored.
WRITER = """
import sys
from pathlib import Path
import db.db_api as db_api
from tests.support.library_clips import new_clip

folder, worker, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
db_api.BATCH_CLIPS = 5

def clip(number):
    # Every third clip is the same in all workers: one file, four rows.
    seed = number if number % 3 == 0 else hash((worker, number)) % 2**32
    return new_clip(f"t{number}", seed, request_id=f"{worker}/{number}")

with db_api.Library(folder) as library:
    print("ready", flush=True)
    for first in range(0, count, 10):
        batch = [clip(number) for number in range(first, min(first + 10, count))]
        library.add_clips(batch)
        print("\\n".join(c.request_id for c in batch), flush=True)
"""


def start(folder: Path, worker: int, count: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", WRITER, str(folder), str(worker), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_four_writers_lose_no_clip_when_one_is_killed(tmp_path: Path, engine: str) -> None:
    count = 150 if engine == "sqlite" else 100
    writers = [start(tmp_path, worker, count) for worker in range(4)]
    stored: set[str] = set()
    victim = writers[0]
    assert victim.stdout is not None
    for line in victim.stdout:
        stored |= {line.strip()} - {"ready"}
        if len(stored) >= 20:
            victim.send_signal(signal.SIGKILL)
            break
    stored |= set(victim.stdout.read().split()) - {"ready"}
    assert victim.wait() == -signal.SIGKILL
    for writer in writers[1:]:
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        stored |= set(output.split()) - {"ready"}
    assert len(stored) >= 3 * count + 20

    with Library(tmp_path) as library:
        assert library.request_ids_present(stored) == stored
        broken = check_library(library, left_over_after_s=0)
        assert set(broken.counts) <= {"file without row", "temporary file"}, (
            "a kill may leave files without rows, but no rows without files"
        )
        assert check_library(library, repair=True, left_over_after_s=0).ok
        assert check_library(library, left_over_after_s=0).problems == ()

    again = start(tmp_path, 0, count)
    again.communicate(timeout=60)
    assert again.returncode == 0
    with Library(tmp_path) as library:
        assert library.stats().clips == 4 * count, "the second run stored what was missing and nothing twice"
        assert check_library(library, left_over_after_s=0).problems == ()


def test_a_repair_during_writes_loses_no_clip(tmp_path: Path, engine: str) -> None:
    count = 100 if engine == "sqlite" else 50
    writers = [start(tmp_path, worker, count) for worker in range(2)]
    with Library(tmp_path) as library:
        while any(writer.poll() is None for writer in writers):
            # The strictest setting: every file without a row counts as left over immediately.
            report = check_library(library, repair=True, left_over_after_s=0)
            assert set(report.counts) <= {"file without row"}
        assert [writer.returncode for writer in writers] == [0, 0]
        assert library.stats().clips == 2 * count
        assert check_library(library, left_over_after_s=0).problems == ()
    for writer in writers:
        writer.communicate()
