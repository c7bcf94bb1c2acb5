"""The secret that signs sessions and tokens: made once, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.data_folder import storing
from core.errors import HarkError

SHORTEST = 32  # characters of what is a key


def secret_key(path: Path) -> str:
    """The secret in a file; the first caller makes it. Two who start at once get the same one.

    Raises:
        HarkError: the data folder cannot be written, or the file is damaged.
    """
    with storing("starting the portal"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            mine = path.with_name(f".{path.name}-{os.getpid()}")
            handle = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_urlsafe(50))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(mine, path)  # unlike a rename it fails where another process was faster
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return _checked(path)


def _checked(path: Path) -> str:
    text = path.read_bytes().decode("ascii", "replace").strip()
    if len(text) < SHORTEST or not (text.isascii() and text.isprintable()):
        raise HarkError(
            "The portal's secret key is damaged.",
            f"{path} holds no key: it is empty, cut off, or no text.",
            "Put back a copy of that file. Without one, delete it: a new one is made; then everybody "
            "has to sign in again, and webhooks have to be made anew.",
        )
    return text
