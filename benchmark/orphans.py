"""Processes that others leave behind."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@contextmanager
def orphans_become_children() -> Iterator[None]:
    """What a process below this one leaves when it ends is found among the descendants of this one (Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        if prctl is not None:
            prctl(PR_SET_CHILD_SUBREAPER, 0)
