"""The folder that holds everything Hark writes, and atomic writes: a crash leaves no partial file."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from core.errors import HarkError
from core.worded import Worded, worded

REPOSITORY = Path(__file__).resolve().parent.parent


def data_folder() -> Path:
    """Return the data folder: HARK_DATA, or ``data/`` next to the code."""
    return _resolved(os.environ.get("HARK_DATA") or str(REPOSITORY / "data"))


def installation_folder() -> Path:
    """Return the folder of voices, engines and caches, shared by all users: HARK_INSTALLATION, or the data folder."""
    given = os.environ.get("HARK_INSTALLATION")
    return _resolved(given) if given else data_folder()


def _resolved(folder: str) -> Path:
    return _absolute(folder) if folder.startswith("/") else Path(folder).expanduser().resolve()


@cache
def _absolute(folder: str) -> Path:
    """Resolve a folder once per process, because each page asks for it a hundred times."""
    return Path(folder).resolve()


def keep_private(folder: Path) -> None:
    """Make a folder private to this account, unless another user owns it. Raises OSError if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)


class StorageError(HarkError):
    """Raised if Hark's own disk or database cannot be written to."""

    reason = "storage"


class StorageFull(StorageError):
    """Raised if the disk is full."""

    reason = "disk_full"


def is_full(error: BaseException | None) -> bool:
    """Return whether the error means that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return error is not None and "disk is full" in str(error) and type(error).__name__ == "OperationalError"


def storage_error(error: OSError, doing: str) -> HarkError:
    """Return the HarkError for an OSError from writing. Users may see it, so it does not name a folder."""
    where = Path(str(error.filename)).name if error.filename else "the data folder"
    doing = doing if isinstance(doing, Worded) else worded(doing.replace("%", "%%"))
    if is_full(error):
        return StorageFull(
            worded("The disk is full: %(doing)s stopped.", doing=doing),
            f"{error.strerror}: {where}.",
            worded(
                "Free some space or point HARK_DATA (or --data) at a larger disk, then run the same command again; "
                "finished work is saved."
            ),
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            worded("Hark has no write permission: %(doing)s stopped.", doing=doing),
            f"{error.strerror}: {where}.",
            worded(
                "Make the folder writable or point HARK_DATA (or --data) at another one, then run the same "
                "command again."
            ),
        )
    return StorageError(
        worded("A file could not be written: %(doing)s stopped.", doing=doing),
        f"{error.strerror or error}: {where}.",
        worded("Check the disk, then run the same command again; finished work is saved."),
    )


@contextmanager
def storing(doing: str) -> Iterator[None]:
    """Turn an OSError in the block into its :func:`storage_error`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


_UNFINISHED = re.compile(r"\..*-[a-z0-9_]{8}(\.\w+)?")  # names that tempfile generates


@contextmanager
def atomic_path(target: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path next to ``target``. It is synced and renamed to ``target`` only if the block succeeds.

    Raises OSError if the file system fails. Callers that face a user write within :func:`storing`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove files that killed processes left in :func:`atomic_path`. No other process may write there."""
    for path in folder.glob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


_DELETED = ".deleted-"  # begins the name of a folder while it is removed


def rename_deleted(folder: Path) -> None:
    """Rename a folder, if it exists, so that no process finds it or writes into it until it is removed.

    Raises OSError if it cannot be renamed.
    """
    with suppress(FileNotFoundError):
        folder.rename(folder.with_name(f"{_DELETED}{folder.name}-{secrets.token_hex(4)}"))


def remove_deleted(parent: Path, name: str = "") -> None:
    """Remove the folders in ``parent`` that :func:`rename_deleted` renamed; with ``name``, only those that had it.

    Raises OSError if one cannot be removed.
    """
    for folder in parent.glob(f"{_DELETED}{name}*"):
        while folder.exists():
            with suppress(FileNotFoundError):  # another process removes it too
                shutil.rmtree(folder)


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise HarkError(
            worded("There is no folder %(folder)s.", folder=str(folder)),
            worded("The path is not a folder."),
            worded("Give the path of an existing folder."),
        )
