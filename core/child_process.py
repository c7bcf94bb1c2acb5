"""Child processes that end with their parent and answer on stdout. Imports the standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TextIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Make the kernel signal this process when its parent ends, for any reason (Linux only; elsewhere a no-op).

    Call it first in the child. It also works as ``preexec_fn`` of a process with a single thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)


def signal_group(process_group: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process and all its children; do nothing if it has ended."""
    try:
        os.killpg(process_group, number)
    except (ProcessLookupError, PermissionError):
        pass


def parent_is_gone(parent: int) -> bool:
    """Return whether ``parent``, which started this process, ended before :func:`end_with_parent` was called."""
    return os.getppid() != parent


def take_stdout() -> TextIO:
    """Return a copy of stdout for answers to the parent; what libraries print from now on goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers
