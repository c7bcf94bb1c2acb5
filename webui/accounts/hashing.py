"""Argon2 with OWASP's parameters.

Only a few hashes run at a time: anyone can attempt to sign in, and each attempt costs memory and CPU time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.utils.translation import gettext as _

from core.errors import HarkError

MAX_CONCURRENT = 4
PATIENCE_S = 1.0  # seconds to wait; one hash takes about 30 ms
_places = threading.BoundedSemaphore(MAX_CONCURRENT)  # for the whole web server, which is one process


class HashingBusy(HarkError):
    """Raised if too many passwords are being checked. The response is 503."""

    status, wait_s = 503, 2


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(timeout=PATIENCE_S):
        raise HashingBusy(
            _("Too many people are signing in."),
            _("Hark checks only a few passwords at a time."),
            _("Try again in a few seconds."),
        )
    try:
        yield
    finally:
        _places.release()


class FewAtOnce(Argon2PasswordHasher):
    """Argon2 for a few passwords at a time. Hashes with other parameters are replaced at the next sign-in."""

    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with _place():
            return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        with _place():
            return bool(super().verify(password, encoded))
