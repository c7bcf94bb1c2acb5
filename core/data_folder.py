"""Where Hark keeps everything it writes, and how it writes so that a crash leaves no half file."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from core.errors import HarkError
from core.worded import Worded, worded

REPOSITORY = Path(__file__).resolve().parent.parent


def data_folder() -> Path:
    """The data folder: the environment's HARK_DATA, or ``data/`` beside the code."""
    return _resolved(os.environ.get("HARK_DATA") or str(REPOSITORY / "data"))


def installation_folder() -> Path:
    """Where voices, engines and caches are: HARK_INSTALLATION, or the data folder itself.

    In the portal users have data folders of their own, and all the same engines.
    """
    given = os.environ.get("HARK_INSTALLATION")
    return _resolved(given) if given else data_folder()


def _resolved(folder: str) -> Path:
    return _absolute(folder) if folder.startswith("/") else Path(folder).expanduser().resolve()


@cache
def _absolute(folder: str) -> Path:
    """As it was when it was first asked for: a page asks a hundred times."""
    return Path(folder).resolve()


def keep_private(folder: Path) -> None:
    """Make a folder that no other account of the machine can look into, whatever it was before. Raises OSError: it
    cannot be made. A folder of another user is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)


class StorageError(HarkError):
    """Hark's own disk, or database, cannot be written."""

    reason = "storage"


class StorageFull(StorageError):
    """There is no room left on the disk; the portal answers with 507."""

    status, reason = 507, "disk_full"


def is_full(error: BaseException | None) -> bool:
    """Whether there was no room on the disk, for a file or for a database."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return error is not None and "disk is full" in str(error) and type(error).__name__ == "OperationalError"


def storage_error(error: OSError, doing: str) -> HarkError:
    """The HarkError for an OSError met while writing (full disk, read-only folder, other).

    It names the file without its folder: it may be shown to users who do not run this server.
    """
    where = Path(str(error.filename)).name if error.filename else "the data folder"
    doing = doing if isinstance(doing, Worded) else worded(doing.replace("%", "%%"))
    if is_full(error):
        return StorageFull(
            worded("The disk is full: %(doing)s stopped.", doing=doing),
            f"{error.strerror}: {where}.",
            worded(
                "Free some space or point HARK_DATA (or --data) at a larger disk, then run the same command again; "
                "what was finished is kept."
            ),
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            worded("Hark may not write there: %(doing)s stopped.", doing=doing),
            f"{error.strerror}: {where}.",
            worded(
                "Make the folder writable or point HARK_DATA (or --data) at another one, then run the same "
                "command again."
            ),
        )
    return StorageError(
        worded("A file could not be written: %(doing)s stopped.", doing=doing),
        f"{error.strerror or error}: {where}.",
        worded("Check the disk, then run the same command again; what was finished is kept."),
    )


@contextmanager
def storing(doing: str) -> Iterator[None]:
    """Raise the :func:`storage_error` of an OSError in the block."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


_UNFINISHED = re.compile(r"\..*-[a-z0-9_]{8}(\.\w+)?")  # tempfile's names for it


@contextmanager
def atomic_path(target: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; it is synced and renamed to ``target`` only when the block succeeds.

    Raises OSError as the file system gives it; callers that face a user write within :func:`storing`.
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
    """Remove what :func:`atomic_path` has left in a folder because its process was killed. Nobody may be writing there.

    Raises OSError as the file system gives it.
    """
    for path in folder.glob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Raise HarkError where there is no such folder."""
    if not folder.is_dir():
        raise HarkError(
            worded("There is no folder %(folder)s.", folder=str(folder)),
            worded("The path names no folder."),
            worded("Check the path."),
        )
