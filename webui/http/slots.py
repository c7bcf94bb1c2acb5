"""Limits on the requests that wait for a model: the speech service transcribes one recording at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.base_user import AbstractBaseUser

from webui.http.errors import StatusError

MAX_CONCURRENT, MAX_PER_USER = 8, 4

_requests: Counter[int] = Counter()  # number of waiting requests by user; the web server is one process
_counting = threading.Lock()


@contextmanager
def slot(user: AbstractBaseUser) -> Iterator[None]:
    """Reserve a slot for waiting requests during the block. Raises StatusError (429) if there is none left."""
    with _counting:
        if _requests[user.pk] >= MAX_PER_USER:
            raise _busy(f"{MAX_PER_USER} of your own requests are in progress.")
        if _requests.total() >= MAX_CONCURRENT:
            raise _busy(f"Hark processes {MAX_CONCURRENT} such requests at a time.")
        _requests[user.pk] += 1
    try:
        yield
    finally:
        with _counting:
            _requests[user.pk] -= 1


def _busy(why: str) -> StatusError:
    what_to_do = "Try again in a moment; or upload the recording (POST /api/v1/recordings), which queues it."
    return StatusError(429, "Hark is busy.", why, what_to_do, wait_s=5)
