"""File locks: one holder at a time, some patience, and nothing left behind by a killed holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.lock import held

# Arguments: the lock, and the seconds for which to hold it.
HOLDER = """
import sys, time
from pathlib import Path
from core.lock import held
with held(Path(sys.argv[1]), lambda holder: ValueError(holder)):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def refused(holder: str) -> HarkError:
    return HarkError("It is going on.", f"Process {holder} does it.", "Wait.")


def start_holder(path: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def test_a_waiter_gets_the_lock_when_its_holder_ends(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock", 0.6)
    started = time.monotonic()
    with held(tmp_path / "lock", refused, 20.0):
        assert time.monotonic() - started > 0.2
        assert (tmp_path / "lock").read_text().strip() == str(os.getpid())
    assert process.wait(5) == 0


def test_waiting_times_out_with_an_error_that_names_the_holder(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock", 60.0)
    try:
        with pytest.raises(HarkError) as raised, held(tmp_path / "lock", refused, 0.3):
            pass
        assert raised.value.why == f"Process {process.pid} does it."
    finally:
        process.kill()
        process.wait()


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock", 60.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with held(tmp_path / "lock", refused, 0.0):
        pass
