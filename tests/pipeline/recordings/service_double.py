"""The speech service with operations of the tests: ``python service_double.py``, as the client starts the real one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.modules.setdefault("service_double", sys.modules[__name__])
_lock = threading.Lock()
_model: list[str] = []


def use_model(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Load something slow once; each loading leaves a line in the file ``loads``."""
    with _lock:
        if not _model:
            time.sleep(0.3)
            _model.append("loaded")
            with Path(request["loads"]).open("a") as loads:
                loads.write(f"{os.getpid()}\n")
    heard = np.zeros(0) if audio is None else audio
    return {"pid": os.getpid(), "sum": float(heard.sum()), "samples": len(heard)}


def die_once(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Be killed in the middle, as often as ``times`` says (a file counts)."""
    deaths = Path(request["deaths"])
    done = len(deaths.read_text().splitlines()) if deaths.exists() else 0
    if done < request["times"]:
        with deaths.open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": os.getpid()}


def refuse(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Fail in a way that the user can mend."""
    from core.errors import HarkError

    raise HarkError("It is refused.", "The test wants it so.", "Change the test.")


def bug(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Fail by a fault."""
    return {"never": 1 // 0}


def sleep(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Take ``seconds``."""
    time.sleep(request["seconds"])
    return {"slept": request["seconds"]}


def signal_this_thread(request: dict[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Get the signal ``number`` while the main thread waits for a connection."""
    time.sleep(0.1)
    signal.pthread_kill(threading.get_ident(), request["number"])
    return {"pid": os.getpid()}


if __name__ == "__main__":
    from pipeline.recordings import model_operations, model_server

    for operation in (use_model, die_once, refuse, bug, sleep, signal_this_thread):
        model_operations.OPERATIONS[operation.__name__] = f"service_double:{operation.__name__}"
    model_operations.OPERATIONS["missing"] = "no_such_module_at_all:operation"
    model_server.main()
