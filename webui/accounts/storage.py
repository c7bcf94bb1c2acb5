"""The data folder of a user, and the disk space that it takes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from webui.accounts.models import User

COUNTED_FOR_S = 60.0  # seconds for which a count is cached, because it visits all files

_counted: dict[Path, tuple[float, int]] = {}  # by folder: time of the count, and bytes


def user_data(user: User) -> Path:
    """Return the data folder of a user: clips, models, jobs. The owner's is that of the installation and command line.

    Separate folders keep one user's recordings out of another's detectors without a condition in every query.
    """
    if user.is_owner:
        return Path(settings.DATA)
    return Path(settings.DATA) / "users" / str(user.pk)


def add_bytes(folder: Path, size: int) -> None:
    """Add ``size`` bytes to the cached count of a folder."""
    at, used = _counted.get(folder, (0.0, 0))
    if folder in _counted:
        _counted[folder] = (at, used + size)


def forget_count(folder: Path) -> None:
    _counted.pop(folder, None)


def bytes_used(folder: Path) -> int:
    """Return the bytes of the files in a folder, counted at most once a minute and corrected by :func:`add_bytes`."""
    at, used = _counted.get(folder, (0.0, 0))
    if folder not in _counted or time.monotonic() - at > COUNTED_FOR_S:
        at, used = time.monotonic(), bytes_below(folder)
        _counted[folder] = (at, used)
    return used


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files in a folder and its subfolders."""
    total = 0
    for below, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it may have been deleted in the meantime
                total += os.lstat(f"{below}/{name}").st_size
    return total
