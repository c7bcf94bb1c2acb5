"""Processes that must not outlive who started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends, however that ends (Linux; elsewhere nothing is done).

    To be called in the child, first of all; also as ``preexec_fn`` of a process that has one thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)


def signal_group(process_group: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process and all that it started; one that has ended is left."""
    try:
        os.killpg(process_group, number)
    except (ProcessLookupError, PermissionError):
        pass


def parent_is_gone(parent: int) -> bool:
    """Whether the process ``parent``, which started this one, ended before :func:`end_with_parent` was called."""
    return os.getppid() != parent
