"""What a worker with a data folder of its own keeps of a user: nothing, once its jobs of that user have ended."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import file_store

LOCK = "copies.lock"
FOLDERS = ("clips", "emissions", "audio", "asr", "jobs")  # below a user's data; runs lie below models/, beside engines'


@contextmanager
def copies_of(data: Path) -> Iterator[None]:
    """While a job uses the copies below a user's data folder. When the last job of those that do on this machine has
    ended, they are removed; where the process itself is told to end, they stay for whoever goes on with the job.

    Does nothing but for a worker that is apart (:func:`core.file_store.is_apart`).

    Raises:
        OSError: the folder cannot be made.
    """
    if not file_store.is_apart():
        yield
        return
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another job of this user goes on here, and does it
        _remove(data)


def _remove(data: Path) -> None:
    for run in (data / "jobs").glob("*"):
        shutil.rmtree(data / "models" / run.name, ignore_errors=True)
    for name in FOLDERS:
        shutil.rmtree(data / name, ignore_errors=True)
