"""How much of the disk a user may take, so that there is room for the others."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from core.errors import HarkError

COUNTED_FOR_S = 60.0  # looking at all files takes a while

_counted: dict[Path, tuple[float, int]] = {}  # by folder: when, and how many bytes


class NoRoom(HarkError):
    """There is no room for more; answered with 507."""

    status = 507


def take_room(folder: Path, size: int) -> None:
    """Take ``size`` bytes of the share of the user whose data the folder is.

    Raises:
        NoRoom: that is more than is left of ``settings.USER_MAX_BYTES``.
    """
    at, used = _counted.get(folder, (0.0, 0))
    if time.monotonic() - at > COUNTED_FOR_S or used + size >= settings.USER_MAX_BYTES:
        at, used = time.monotonic(), bytes_below(folder)
    if used + size >= settings.USER_MAX_BYTES:
        raise NoRoom(
            _("Your storage quota is used up."),
            _("Your recordings, clips and detectors use %(used).1f GB; your quota is %(most).1f GB.")
            % {"used": used / 1e9, "most": settings.USER_MAX_BYTES / 1e9},
            _("Delete what you do not need, or ask whoever runs Hark."),
        )
    _counted[folder] = (at, used + size)


def bytes_below(folder: Path) -> int:
    """What all files in a folder have, and in the folders in it."""
    total = 0
    for below, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it has gone meanwhile
                total += os.lstat(f"{below}/{name}").st_size
    return total
