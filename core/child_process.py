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


def parent_is_gone(parent: int) -> bool:
    """Whether the process ``parent``, which started this one, ended before :func:`end_with_parent` was called."""
    return os.getppid() != parent
