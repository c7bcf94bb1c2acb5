"""Tasks of the tests for the speech service, which run in its own process."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import HarkError

_lock = threading.Lock()
_model: list[str] = []


def use_model(loads: Path, audio: np.ndarray | None = None) -> dict[str, Any]:
    """Load something slow once; each load adds a line to the file ``loads``."""
    with _lock:
        if not _model:
            time.sleep(0.3)
            _model.append("loaded")
            with loads.open("a") as file:
                file.write(f"{os.getpid()}\n")
    return {"pid": os.getpid(), "sum": 0.0 if audio is None else float(audio.sum())}


def die_once(deaths: Path, times: int) -> int:
    """Kill this process in the middle, so many times (counted in a file)."""
    done = len(deaths.read_text().splitlines()) if deaths.exists() else 0
    if done < times:
        with deaths.open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def refuse() -> None:
    """Fail with an error that the user can fix."""
    raise HarkError("It is refused.", "The test wants it so.", "Change the test.")


def bug() -> float:
    """Fail with a bug."""
    return 1 / 0


def sleep(seconds: float = 0.0) -> str:
    """Take some time."""
    time.sleep(seconds)
    return "slept"


def signal_this_thread(number: int) -> None:
    """Get a signal while the main thread waits for a connection."""
    time.sleep(0.1)
    signal.pthread_kill(threading.get_ident(), number)
