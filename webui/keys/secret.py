"""The secret key that signs sessions and tokens (created once, readable only by its owner), and its rotation.

The file holds the key, then a line for each previous key with the time until which it is accepted. It is read whenever
a key is needed, so a rotation reaches all processes immediately.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from core.data_folder import atomic_path, storing
from core.errors import HarkError

MIN_LENGTH = 32  # characters of a key
NAME = "secret.key"  # name of the file in the portal's folder


def secret_key(path: Path) -> str:
    """Return the key in the file, which the first caller creates. Simultaneous callers get the same key.

    Raises HarkError if the data folder cannot be written or the file is damaged.
    """
    with storing("starting the portal"):
        key = _read(path)[0]  # try to read first, because every request does so several times
        if not key:
            _make(path)
            key = _read(path)[0]
        return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as file:  # readable only by its owner
        file.write(_new_key())
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)  # unlike a rename, this fails if another process was faster


class EarlierKeys(list[str]):
    """Django's SECRET_KEY_FALLBACKS: the previous keys in a file, read at each use."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __iter__(self) -> Iterator[str]:
        now = datetime.now(UTC)
        return (key for key, until in _read(self.path)[1] if until > now)

    def __len__(self) -> int:
        return sum(1 for _key in self)  # not len(tuple(self)), which would call this method


def all_keys() -> list[str]:
    """Return the key that Django signs with, and the previous keys that it accepts."""
    from django.conf import settings

    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def rotate(path: Path, until: datetime) -> None:
    """Create a new key; accept the current one until ``until``, earlier ones until they expire.

    Raises HarkError if the file cannot be read or written.
    """
    key = secret_key(path)
    with storing("rotating the secret key"):
        now = datetime.now(UTC)
        keys = [(key, until), *((old, end) for old, end in _read(path)[1] if end > now)]
        lines = (_new_key(), *(f"{old} {end.astimezone(UTC).isoformat(timespec='seconds')}" for old, end in keys))
        with atomic_path(path, mode=0o600) as temporary:
            temporary.write_text("\n".join(lines))


def forget_earlier(path: Path) -> None:
    """Stop accepting previous keys. Raises the errors of :func:`rotate`."""
    key = secret_key(path)
    with storing("rotating the secret key"), atomic_path(path, mode=0o600) as temporary:
        temporary.write_text(key)


def _new_key() -> str:
    return secrets.token_urlsafe(50)


def _read(path: Path) -> tuple[str, list[tuple[str, datetime]]]:
    try:
        key, *lines = path.read_bytes().decode("ascii", "replace").strip().split("\n")
        earlier = [line.rsplit(" ", 1) for line in lines]
        keys = key.strip(), [(old, datetime.fromisoformat(end)) for old, end in earlier]
        if all(len(text) >= MIN_LENGTH and text.isascii() and text.isprintable() for text in (keys[0], *dict(keys[1]))):
            return keys
    except FileNotFoundError:
        return "", []
    except ValueError:
        pass
    raise HarkError(
        "The portal's secret key is damaged.",
        f"{path} does not contain a key: it is empty, truncated, or not text.",
        "Restore a copy of the file. If you have none, delete the file, and Hark creates a new key. All users must "
        "then sign in again, and set up their webhooks and second factors again.",
    )
