"""What a process that multiprocessing starts for a command has to do first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time


def follow_the_parent() -> None:
    """Leave Ctrl-C, which reaches every process at the terminal, to the parent; end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    # Else a process of a pool waits for work for ever when its parent is killed.
    while (parent := multiprocessing.parent_process()) is None:  # it is not known before the main module is imported
        time.sleep(0.1)
    parent.join()
    os._exit(1)
