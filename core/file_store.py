"""STORAGE_URL: a bucket of an S3-compatible store that holds what is large and does not change (clips, emissions,
recordings' sound, detectors), and what a worker with a data folder of its own needs or leaves (:data:`APART`). The data
folder has copies, which are fetched when they are asked for and not there.

Without STORAGE_URL every function here leaves a file as it is. A file's key is its path below the installation's
folder. The URL holds a password, so nothing that is said about one repeats it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
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
APART = "HARK_APART"  # set for a worker that does not share the portal's data folder
EXAMPLE = "s3://KEY:SECRET@HOST:9000/BUCKET"
CONNECT_S, ANSWER_S = 5.0, 60.0
TRIES = 3
PART = 64 << 20  # bytes: what comes in one part is called by its MD5
UNCHANGED = (".flac", ".npy", ".zip", ".pt", ".safetensors")
# What belongs into the store, below the installation's folder.
_KEPT = re.compile(
    r"(users/[^/]+/)?("
    r"(clips|emissions)/.+\.(flac|npy)|library\.(postgresql|mysql)|asr/own/own-[^/]+\.safetensors|"
    r"audio/[^/]+/(original[^/]*|audio\.flac|transcript\.json|given\.txt)|"
    r"models/[^/]+/(model\.pt|[^/]+\.zip|report\.(json|html)|comparison\.json)|"
    r"jobs/([^/]+/(plan\.json|clips\.csv|result\.json)|finished-[^/]+\.json))"
)


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: where its copy lies or would lie, its size [bytes], when it was put there [seconds since the
    epoch], and what the store calls its content (see :func:`newest`)."""

    path: Path
    size: int
    modified: float
    tag: str

    def is_copied(self, path: Path) -> bool:
        """Whether a file has the same content; of one that is never replaced, whether it has the same size."""
        return self.size == path.stat().st_size and (path.suffix in UNCHANGED or self.tag == _md5(path))


def is_used() -> bool:
    """Whether STORAGE_URL is set."""
    return bool(_url())


def is_apart() -> bool:
    """Whether this process works in a data folder that is not the portal's."""
    return os.environ.get(APART, "") == "1"


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
            store.client.fput_object(store.bucket, key, str(source or path), part_size=PART)


def local(path: Path) -> Path:
    """A path, whose file is fetched where it is not there and the store has it.

    Raises:
        HarkError: the store does not answer.
        OSError: the copy cannot be written.
    """
    store = _store()
    if store is not None and not path.exists() and (key := store.key(path)):
        store.fetch(key, path)
    return path


def newest(path: Path) -> Path:
    """The same for a file that may have been replaced, maybe by another machine: also fetched where the copy is
    another one than the store's. While the store is away, the portal shows the copy that it has.

    Raises:
        HarkError: the store does not answer.
        OSError: the copy cannot be read or written.
    """
    store = _store()
    if store is not None and (key := store.key(path)):
        try:
            there = store.tag(key)
            if there is not None and not (path.is_file() and _md5(path) == there):
                store.fetch(key, path)
        except HarkError:
            if is_apart() or not path.is_file():
                raise
    return path


def found(folder: Path, pattern: str) -> list[Path]:
    """The paths below a folder that match a pattern of :meth:`pathlib.Path.glob`, of files here or in the store, in
    order. Raises HarkError where the store does not answer."""
    there = (one.path for one in stored(folder) if one.path.match(f"{folder.as_posix()}/{pattern}"))
    return sorted({*folder.glob(pattern), *there})


def is_there(path: Path) -> bool:
    """Whether a file is here or in the store. Raises HarkError where the store does not answer."""
    store = _store()
    if path.is_file() or store is None or not (key := store.key(path)):
        return path.is_file()
    return store.tag(key) is not None


def stored(folder: Path) -> Iterator[StoredFile]:
    """What the store has below a folder, in order of path; nothing without a store. A key that Hark would not put there
    is left out: who writes into the bucket writes nothing else into the data folder.

    Raises:
        HarkError: the store does not answer.
    """
    return _listed(folder, lambda name: bool(_KEPT.fullmatch(name)) and not {"", ".", ".."} & {*name.split("/")})


def _listed(folder: Path, wanted: Callable[[str], bool]) -> Iterator[StoredFile]:
    store = _store()
    if store is not None and (prefix := store.key(folder)) is not None:
        with _asking():
            listed = store.client.list_objects(store.bucket, prefix=f"{prefix}/" if prefix else None, recursive=True)
            for one in listed:
                if not wanted(str(one.object_name).removeprefix(store.prefix)):
                    continue
                modified = one.last_modified.timestamp() if one.last_modified else 0.0
                yield StoredFile(store.path(str(one.object_name)), int(one.size or 0), modified, _tag(one.etag))


def put_missing(reporter: Reporter) -> tuple[int, int]:
    """Put what belongs into the store and is here alone, as it is where STORAGE_URL is new or a backup was restored.

    Returns:
        How many files the store has now, and how many of them were put there.

    Raises:
        HarkError: the store does not answer.
    """
    root = installation_folder()
    there = {one.path: one for one in stored(root)}
    here = sorted(path for path in root.rglob("*") if _KEPT.fullmatch(path.relative_to(root).as_posix()))
    missing = [path for path in here if path not in there or not there[path].is_copied(path)]
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
        store.remove([one.path for one in _listed(folder, lambda name: True)])


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

    def fetch(self, key: str, path: Path) -> None:
        """Write what the store has, if it has it."""
        with _if_there():
            answer = self.client.get_object(self.bucket, key)
            try:
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    for block in answer.stream(1 << 20):
                        file.write(block)
            finally:
                answer.close()
                answer.release_conn()

    def tag(self, key: str) -> str | None:
        """What the store calls the content, the MD5 of a file that came in one part; None where it has no such file."""
        with _if_there():
            return _tag(self.client.stat_object(self.bucket, key).etag)
        return None

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


def _tag(said: str | None) -> str:
    return (said or "").strip('"')


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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


@contextmanager
def _if_there() -> Iterator[None]:
    """The same, and the block ends where the store has no file of the key that it asks for."""
    from minio.error import S3Error

    with _asking():
        try:
            yield
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise


def _plain(error: Exception) -> Exception:
    """A driver's error without the request's address, which has the key's name, and its reason alone."""
    reason: Any = getattr(error, "reason", None) or getattr(error, "code", None) or error
    return RuntimeError(first_line(reason) if isinstance(reason, Exception) else str(reason))
