"""A lock on a file, for work that two processes must not do at the same time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import HarkError

PATIENCE_S = 15.0  # seconds to wait; a cancelled run has 10 s to end and holds its lock until then
EVERY_S = 0.1


@contextmanager
def held(
    path: Path, refusal: Callable[[str], HarkError], patience_s: float | None = None, shared: bool = False
) -> Iterator[None]:
    """Hold the lock on a file, which is created if missing. The lock ends with the process.

    Args:
        refusal: returns the error for the ID of the process that holds the lock, or "unknown".
        patience_s: seconds to wait (default: :data:`PATIENCE_S`), because the holder may be about to end.
        shared: allow other processes to hold the lock in shared mode too.

    Raises:
        HarkError: another process still holds it.
    """
    with path.open("a+") as lock:
        until = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    lock.seek(0)
                    raise refusal(lock.read().strip() or "unknown") from error
                time.sleep(EVERY_S)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
