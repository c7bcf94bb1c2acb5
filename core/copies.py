"""What a worker with a data folder of its own keeps of a user: nothing, once its jobs of that user have ended."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import file_store
from core.data_folder import installation_folder, storing
from core.errors import HarkError

MARK = "apart.txt"  # in a data folder that holds copies alone
SAID = "A worker's own data folder (./hark worker --apart): what lies in it may be deleted when no worker runs.\n"
LOCK = "copies.lock"
# Below a user's data; runs lie below models/, beside what engines and recognizers have there.
COPIES = ("clips", "emissions", "audio", "asr", "jobs", "library.postgresql", "library.mysql")
PORTAL_HAS = (*COPIES, "portal", "users", "library.sqlite3")


def begin(folder: Path) -> None:
    """Take a data folder for copies alone, and remove those that a worker has left who was told to end, or killed.

    Raises:
        HarkError: it holds what is nobody's copy, or cannot be written.
    """
    mark = folder / MARK
    if not mark.is_file():
        held = [name for name in PORTAL_HAS if (folder / name).exists()]
        if held:
            raise HarkError(
                "This data folder is not a worker's own.",
                f"It has {', '.join(held)}, and what a worker keeps apart is deleted after each job.",
                "Give HARK_DATA a new folder; or leave --apart out where the portal's folder is shared.",
            )
        with storing("starting the worker"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.write_text(SAID)
    for data in (folder, *folder.glob("users/*")):
        with storing("removing copies"), (data / LOCK).open("a") as lock:
            _remove_unused(data, lock.fileno())


@contextmanager
def copies_of(data: Path) -> Iterator[None]:
    """While a job uses the copies below a user's data folder. When the last job of those that do on this machine has
    ended, they are removed; where the process itself is told to end, they stay for whoever goes on with the job.

    Does nothing but for a worker that is apart, in a folder that :func:`begin` has taken.

    Raises:
        OSError: the folder cannot be made.
    """
    if not (file_store.is_apart() and (installation_folder() / MARK).is_file()):
        yield
        return
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
        _remove_unused(data, lock.fileno())


def _remove_unused(data: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another job of this user goes on here, and does it
    for run in (data / "jobs").glob("*"):
        shutil.rmtree(data / "models" / run.name, ignore_errors=True)
    for path in [data / name for name in COPIES] + list((data / "tmp").glob("speech-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
