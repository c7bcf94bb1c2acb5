"""STORAGE_URL: a bucket of an S3-compatible store that holds what is large and does not change: clips, emissions,
recordings' sound, detectors. The data folder has copies, which are fetched when they are asked for and not there.

Without STORAGE_URL every function here leaves a file as it is. A file's key is its path below the installation's
folder. The URL holds a password, so nothing that is said about one repeats it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from core.data_folder import atomic_path, installation_folder
from core.database_url import first_line, need, no_answer, unusable
from core.errors import HarkError
from core.events import Progress, Reporter

if TYPE_CHECKING:
    from minio import Minio

STORAGE = "STORAGE_URL"
EXAMPLE = "s3://KEY:SECRET@HOST:9000/BUCKET"
CONNECT_S, ANSWER_S = 5.0, 60.0
TRIES = 3
# What belongs into the store, below the installation's folder: clips, emissions, a recording's sound, detectors.
_LARGE = re.compile(
    r"(users/[^/]+/)?"
    r"((clips|emissions)/.+\.(flac|npy)|audio/[^/]+/(original[^/]*|audio\.flac)|models/[^/]+/(model\.pt|[^/]+\.zip))"
)


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: where its copy lies or would lie, its size [bytes], and when it was put there [seconds since
    the epoch]."""

    path: Path
    size: int
    modified: float


def is_used() -> bool:
    """Whether STORAGE_URL is set."""
    return bool(_url())


def check() -> None:
    """Ask for the bucket.

    Raises:
        HarkError: STORAGE_URL cannot be used, the store does not answer, or has no such bucket.
    """
    store = _store()
    if store is not None and not store.has_bucket():
        raise HarkError("The file store cannot be used.", "It has no such bucket.", "Make it, or mend STORAGE_URL.")


def prepare() -> None:
    """Make the bucket where the store has none of that name. Raises HarkError as :func:`check` does."""
    store = _store()
    if store is not None and not store.has_bucket():
        with _asking():
            store.client.make_bucket(store.bucket)


def keep(path: Path, source: Path | None = None) -> None:
    """Put a finished file into the store, in the place of an earlier one; with ``source`` before it has its name.

    Raises:
        HarkError: the store does not answer.
        OSError: the file cannot be read.
    """
    store = _store()
    if store is not None and (key := store.key(path)):
        with _asking():
            store.client.fput_object(store.bucket, key, str(source or path))


def local(path: Path) -> Path:
    """A path, whose file is fetched where it is not there and the store has it.

    Raises:
        HarkError: the store does not answer.
        OSError: the copy cannot be written.
    """
    store = _store()
    if store is None or path.exists() or not (key := store.key(path)):
        return path
    from minio.error import S3Error

    with _asking():
        try:
            answer = store.client.get_object(store.bucket, key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return path
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                for block in answer.stream(1 << 20):
                    file.write(block)
        finally:
            answer.close()
            answer.release_conn()
    return path


def is_there(path: Path) -> bool:
    """Whether a file is here or in the store. Raises HarkError where the store does not answer."""
    store = _store()
    if path.is_file() or store is None or not (key := store.key(path)):
        return path.is_file()
    from minio.error import S3Error

    with _asking():
        try:
            store.client.stat_object(store.bucket, key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return False
    return True


def stored(folder: Path) -> Iterator[StoredFile]:
    """What the store has below a folder, in order of path; nothing without a store.

    Raises:
        HarkError: the store does not answer.
    """
    store = _store()
    if store is not None and (prefix := store.key(folder)) is not None:
        with _asking():
            listed = store.client.list_objects(store.bucket, prefix=f"{prefix}/" if prefix else None, recursive=True)
            for one in listed:
                modified = one.last_modified.timestamp() if one.last_modified else 0.0
                yield StoredFile(store.path(str(one.object_name)), int(one.size or 0), modified)


def put_missing(reporter: Reporter) -> tuple[int, int]:
    """Put what belongs into the store and is here alone, as it is where STORAGE_URL is new or a backup was restored.

    Returns:
        How many files the store has now, and how many of them were put there.

    Raises:
        HarkError: the store does not answer.
    """
    root = installation_folder()
    there = {one.path: one.size for one in stored(root)}
    here = sorted(path for path in root.rglob("*") if _LARGE.fullmatch(path.relative_to(root).as_posix()))
    missing = [path for path in here if there.get(path) != path.stat().st_size]
    progress = Progress(reporter, len(missing))
    for path in missing:
        keep(path)
        progress.advance()
    return len(there.keys() | set(missing)), len(missing)


def forget(path: Path) -> None:
    """Remove a file from the store. The copy here is the caller's. Raises HarkError where the store does not answer."""
    store = _store()
    if store is not None and (key := store.key(path)):
        with _asking():
            store.client.remove_object(store.bucket, key)


def forget_folder(folder: Path) -> None:
    """Remove all that the store has below a folder; the copies here are the caller's.

    Raises:
        HarkError: the store does not answer, or keeps one of them.
    """
    store = _store()
    if store is not None:
        store.remove([one.path for one in stored(folder)])


class _Store:
    def __init__(self, url: str, root: Path) -> None:
        need("minio", "minio", STORAGE)
        import urllib3
        from minio import Minio
        from minio.helpers import check_bucket_name

        parts = urlsplit(url)
        self.bucket, _, prefix = parts.path.strip("/").partition("/")
        self.prefix, self.root = f"{prefix}/" if prefix else "", root
        options = parse_qs(parts.query)
        timeout = urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S)
        retries = urllib3.Retry(TRIES, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
        try:
            if parts.scheme != "s3" or not parts.hostname:
                raise ValueError("no address of a store")
            check_bucket_name(self.bucket)
            self.client: Minio = Minio(
                f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname,
                access_key=unquote(parts.username or "") or None,
                secret_key=unquote(parts.password or "") or None,
                secure=options.get("tls", ["on"])[0] != "off",
                region=options.get("region", ["us-east-1"])[0],
                http_client=urllib3.PoolManager(timeout=timeout, retries=retries, maxsize=16),
            )
        except ValueError:
            raise unusable(STORAGE, "It is malformed, or names no bucket", EXAMPLE) from None

    def has_bucket(self) -> bool:
        """Raises HarkError where the store does not answer."""
        with _asking():
            return bool(self.client.bucket_exists(self.bucket))

    def key(self, path: Path) -> str | None:
        """None for what does not lie below the installation's folder."""
        try:
            relative = path.absolute().relative_to(self.root).as_posix()
        except ValueError:
            return None
        return self.prefix.rstrip("/") if relative == "." else f"{self.prefix}{relative}"

    def path(self, key: str) -> Path:
        return self.root / key.removeprefix(self.prefix)

    def remove(self, paths: Iterable[Path]) -> None:
        from minio.deleteobjects import DeleteObject

        with _asking():
            doomed = [DeleteObject(str(self.key(path))) for path in paths]
            kept = list(self.client.remove_objects(self.bucket, doomed))
        if kept:
            raise HarkError(
                "The file store keeps what is to be removed.",
                f"{kept[0].message or kept[0].code}.",
                "Let STORAGE_URL's user delete objects, then try again.",
            )


def _url() -> str:
    return os.environ.get(STORAGE, "").strip()


def _store() -> _Store | None:
    url = _url()
    return _store_of(url, installation_folder(), os.getpid()) if url else None


@lru_cache(maxsize=8)
def _store_of(url: str, root: Path, process: int) -> _Store:
    """One a process: connections are not shared with those that it starts."""
    return _Store(url, root)


@contextmanager
def _asking() -> Iterator[None]:
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (MinioException, HTTPError) as error:
        raise no_answer("The file store", STORAGE, _plain(error)) from error


def _plain(error: Exception) -> Exception:
    """A driver's error without the request's address, which has the key's name, and its reason alone."""
    reason: Any = getattr(error, "reason", None) or getattr(error, "code", None) or error
    return RuntimeError(first_line(reason) if isinstance(reason, Exception) else str(reason))
