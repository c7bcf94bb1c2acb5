"""Backups of a data folder: a zip whose manifest has the digest of every file.

Databases are copied first, with SQLite's own backup, so the portal and commands may continue. Files follow. A clip's
file is written before its row (``db/db_api.py``), so every row of the copy has its file, unless it has since been
deleted. A database on a server goes into the zip as the SQLite file that would replace it without a server, so a backup
can be restored with or without one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sqlite3
import stat
import struct
import tempfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from core.confinement.untrusted_json import untrusted_json
from core.data_folder import REPOSITORY, StorageFull, atomic_path, installation_folder, is_full
from core.errors import HarkError
from core.events import Progress, Reporter
from core.lock import held
from core.settings.file import NAME, remove_unknown
from db.moving import Libraries

MANIFEST = "hark-backup.json"
FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 28  # bytes; enough for about a million files
BLOCK = 1 << 20
BUSY_S = 60.0  # seconds to wait for a database that another process has locked
PORTAL_DATABASE = "portal/portal.sqlite3"
SERVING_LOCK = "portal/serving.lock"  # below the data folder; portals share the lock, a restore holds it exclusively
EXPORTS = "exports"  # folder of the installation, with a zip for each user who requested one
ACCOUNT = "account.json"  # the user's rows in the portal's database, in their folder until they are exported
SECRETS = ("portal/secret.key", ".env")
DATABASE = ".sqlite3"
IN_PLACE = (".before-", ".restoring-")  # prefixes of the names that a restore in place leaves in a data folder

# Excluded for every user: files that can be made or downloaded again, and the markers
# of libraries on a server, whose rows are in the backup as a database.
NOT_BACKED_UP = {
    "cache", "engines", "voices", EXPORTS, "logs", "log", "tmp", "library.postgresql",
    MANIFEST,
}  # fmt: skip
DOWNLOADED = {"whisper", "funasr", "pyannote", "summary", "question-answering", "embedding"}
_OF_A_PROCESS = (".lock", *(DATABASE + end for end in ("-wal", "-shm", "-journal")))
_WORTH_PACKING = {DATABASE, ".json", ".jsonl", ".csv", ".txt", ".html"}
# Tables of django-q and the rows to remove: a task may call any function. Retries of webhooks remain.
_QUEUE = {
    "django_q_ormq": "",
    "django_q_task": "",
    "django_q_schedule": "WHERE func IS NOT 'webui.webhooks.services.deliver'"
    " OR coalesce(hook, kwargs, intended_date_kwarg) IS NOT NULL",
}


@dataclass(frozen=True)
class Entry:
    """A file of a backup: its path below the data folder, size, digest, and modification time (seconds, UTC)."""

    path: str
    bytes: int
    sha256: str
    modified: float


@dataclass(frozen=True)
class Backup:
    """The content of a backup. ``left_out`` are files that vanished while it was made, or whose names are not text."""

    hark: str
    created: str
    files: tuple[Entry, ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Total bytes of all files, uncompressed."""
        return sum(file.bytes for file in self.files)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files if file.path in SECRETS)


@cache
def hark_version() -> str:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def is_backed_up(path: PurePosixPath) -> bool:
    """Return whether a file or folder (its path below the data folder) belongs in a backup."""
    parts = path.parts
    if parts[0] == "users" and len(parts) > 2:
        parts = parts[2:]
    if parts == (".env",) and path.parts == parts:
        return True
    if any(part.startswith(".") for part in parts) or parts[-1].endswith(_OF_A_PROCESS):
        return False
    if parts[0] in NOT_BACKED_UP:
        return False
    if parts[0] == "models" and len(parts) > 1 and parts[1] in DOWNLOADED:
        return False
    return not (parts[0] == "jobs" and "features" in parts[2:])


# Backing up.


def back_up(data: Path, target: Path, reporter: Reporter, server: Libraries | None = None) -> Backup:
    """Write a backup of a data folder, which may be in use; return what it contains.

    At the end, it replaces any earlier file of that name.

    Args:
        server: the databases that are not in the folder.

    Raises:
        HarkError: there is nothing to back up, the target is inside the data folder, a file is unreadable, or the disk
            is full. In that case, no file is left.
    """
    data, target = data.resolve(), target.resolve()
    with _writing("the backup was not written"):
        _refuse_bad_place(data, target)
        unnamed: set[str] = set()
        names = set(_files(data, unnamed))
        if not names and not (server is not None and server.is_used()):
            raise _nothing(data)
        with (
            atomic_path(target, 0o600) as temporary,  # contains the portal's key and sessions
            tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as copies,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            return _Writer(data, archive, Path(copies), reporter, server).write(names, unnamed)


def export_job(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "export": back up only the data folder of a ``user``, and remove :data:`ACCOUNT`."""
    target = installation_folder() / EXPORTS / f"{spec['user']}.zip"
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if (data / ACCOUNT).is_file():  # otherwise this job was killed after its zip was complete
        back_up(data, target, reporter, Libraries(data))
        (data / ACCOUNT).unlink()
    with zipfile.ZipFile(target) as archive:
        return {"bytes": target.stat().st_size, "files": len(archive.namelist()) - 1}  # the manifest is not counted


def _refuse_bad_place(data: Path, target: Path) -> None:
    if target.is_relative_to(data):
        raise HarkError(
            "The backup would be in the data folder.",
            "It would be lost together with it, and be part of the next one.",
            "Choose a file elsewhere, preferably on another disk.",
        )
    if target.is_dir():
        raise HarkError(
            f"{target.name} is a folder.", "A backup is one file.", f"Choose a file, such as {target.name}/hark.zip."
        )
    if target.exists() and not _is_backup(target):
        raise HarkError(
            f"The file {target.name} already exists.",
            "It is not a backup and would be overwritten.",
            "Choose another name.",
        )


def _nothing(data: Path) -> HarkError:
    return HarkError(
        "There is nothing to back up.",
        f"{data} has no library, detector or portal.",
        "Set HARK_DATA or --data to the folder with Hark's data.",
    )


def _is_backup(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as opened:
            return MANIFEST in opened.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, struct.error):
        return False


class _Writer:
    def __init__(
        self, data: Path, archive: zipfile.ZipFile, copies: Path, reporter: Reporter, server: Libraries | None
    ) -> None:
        self.data, self.archive, self.copies, self.reporter, self.server = data, archive, copies, reporter, server
        self.written: dict[str, Entry] = {}
        self.vanished: set[str] = set()

    def write(self, names: set[str], unnamed: set[str]) -> Backup:
        """Write the backup, with the files found by now; return what it contains.

        ``names`` are the files found before, ``unnamed`` those whose names are not text.
        """
        self.reporter.stage("databases", "Copying the databases")
        if self.server is not None:
            for name in self.server.names(self.data):
                try:
                    self._add_copy(name, partial(self.server.save, name), time.time())
                except FileNotFoundError:
                    self.vanished.add(name)
        first = [self.data / PORTAL_DATABASE, self.data / "library.sqlite3"]
        for path in [*first, *sorted(self.data.glob("users/*/library.sqlite3"))]:
            name = path.relative_to(self.data).as_posix()
            if path.is_file() and name not in self.written:
                self._add(name)
        names = names | set(_files(self.data, unnamed))  # files deleted in the meantime count as vanished
        self.reporter.stage("files", "Copying the files")
        progress = Progress(self.reporter, len(names))
        for name in sorted(names):
            if name not in self.written:
                self._add(name)
            progress.advance()
        files, left_out = tuple(self.written.values()), tuple(sorted(self.vanished | unnamed))
        backup = Backup(hark_version(), datetime.now(UTC).isoformat(timespec="seconds"), files, left_out)
        content = {"format": FORMAT, **asdict(backup)}
        self.archive.writestr(_info(MANIFEST), json.dumps(content, ensure_ascii=False))
        return backup

    def _add(self, name: str) -> None:
        path = self.data / name
        try:
            if name.endswith(DATABASE):
                self._add_copy(name, partial(_copy_database, path), path.stat().st_mtime)
            else:
                with _opened(path) as file:
                    self._pack(name, file, os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            self.vanished.add(name)

    def _add_copy(self, name: str, write: Callable[[Path], object], modified: float) -> None:
        copy = self.copies / "copy.sqlite3"
        write(copy)
        with copy.open("rb") as file:
            self._pack(name, file, modified)
        copy.unlink()

    def _pack(self, name: str, source: IO[bytes], modified: float) -> None:
        digest, size = hashlib.sha256(), 0
        with self.archive.open(_info(name), "w", force_zip64=True) as packed:
            while block := _read(source, name):
                digest.update(block)
                size += len(block)
                packed.write(block)
        self.written[name] = Entry(name, size, digest.hexdigest(), modified)


def _files(data: Path, unnamed: set[str]) -> Iterator[str]:
    """Yield the names of all files that belong in a backup, following links (as to a larger disk) but not loops."""

    def below(folder: Path, above: frozenset[str]) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in above:
            return
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _not_read(folder.relative_to(data).as_posix(), error) from error
        for entry in found:
            path = Path(entry.path)
            name = path.relative_to(data).as_posix()
            if not is_backed_up(PurePosixPath(name)):
                continue
            if entry.is_dir():
                yield from below(path, above | {real})
            elif entry.is_file():  # not a socket, a pipe or a broken link
                if _is_safe(name):
                    yield name
                else:
                    unnamed.add(name.encode("utf-8", "replace").decode())

    yield from below(data, frozenset())


def _copy_database(path: Path, copy: Path) -> None:
    """Copy a database. Raises FileNotFoundError if it has vanished, and OSError if the disk is full."""
    until = time.monotonic() + BUSY_S

    def wait(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > until:
            raise sqlite3.OperationalError("the database remained locked")

    try:
        # "rw", because SQLite cannot open a database in WAL mode as "ro" if no process has it open.
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", timeout=1.0, uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, progress=wait)
    except sqlite3.Error as error:
        if is_full(error):
            raise StorageFull(*_full("the backup was not written", str(error))) from error
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise _not_read(path.name, error) from error


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    packed = PurePosixPath(name).suffix in _WORTH_PACKING
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _not_read(path.name, error) from error


def _read(source: IO[bytes], name: str) -> bytes:
    try:
        return source.read(BLOCK)
    except OSError as error:
        raise _not_read(name, error) from error


def _not_read(name: str, error: Exception) -> HarkError:
    return HarkError(
        f"The backup was not written: {name} cannot be read.",
        f"{getattr(error, 'strerror', None) or error}.",
        "Check the disk and who owns the file, then run the same command again.",
    )


def _full(doing: str, said: str) -> tuple[str, str, str]:
    return (
        f"The disk is full: {doing}.",
        f"{said}.",
        "Free some space or use a larger disk, then run the same command again; nothing is left behind.",
    )


@contextmanager
def _writing(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_written(error, doing) from error


def _not_written(error: OSError, doing: str) -> HarkError:
    where = f": {Path(str(error.filename)).name}" if error.filename else ""
    reason = f"{error.strerror or error}{where}"
    if is_full(error):
        return StorageFull(*_full(doing, reason))
    what_to_do = "Check the disk and who owns the folder, then run the same command again; nothing is left behind."
    return HarkError(f"A file could not be written: {doing}.", f"{reason}.", what_to_do)


# Checking and restoring.


def check(archive: Path, reporter: Reporter) -> Backup:
    """Read a whole backup and compare every digest. Raises HarkError if it is not an intact backup."""
    return _read_backup(archive, None, reporter)


def restore(
    archive: Path, data: Path, reporter: Reporter, replace: bool = False, server: Libraries | None = None
) -> tuple[Backup, Path | None]:
    """Restore a backup into an empty or missing data folder, after checking all of it.

    Args:
        replace: move a non-empty data folder aside; its new path is returned. The server's databases are saved there as
            SQLite files.
        server: receives the databases of the backup.

    Raises:
        HarkError: :func:`check` fails, the data folder is not empty or its portal is running, the server is in use, or
            the disk is full. In that case, the data folder and the server are unchanged.
    """
    with _writing("the backup was not restored"):
        occupied = data.exists() and (not data.is_dir() or bool(_entries_of(data)))
        if occupied and not replace:
            raise _holds_something(data)
        if server is not None and not replace and server.is_used():
            raise HarkError(
                "The database is not empty.",
                "It has accounts, which restoring would replace.",
                "Use an empty one (DATABASE_URL), or --replace, which first saves its contents as an SQLite file.",
            )
        data.parent.mkdir(parents=True, exist_ok=True)
        with _without_portal(data), _temporary_folder(data) as staged:
            backup = _read_backup(archive, staged, reporter)
            if server is not None:
                return backup, _put_on_server(server, staged, data, occupied, reporter)
            os.sync()
            aside = _free_name(data) if occupied else None
            _put_in_place(staged, data, aside)
            return backup, aside


def _staging_parent(data: Path) -> Path:
    """Return the folder in which a restore prepares the new data: the parent of the data folder.

    The prepared folder is then renamed to the data folder. If that is a mount, or its parent is not writable (as in a
    container), the new data is prepared in the data folder itself, and its entries are renamed one by one.
    """
    in_place = data.is_dir() and (data.is_mount() or not os.access(data.parent, os.W_OK))
    return data if in_place else data.parent


def _entries_of(data: Path) -> list[Path]:
    """Return the entries of a data folder, except those left by earlier restores in place and by the file system."""
    return [path for path in data.iterdir() if path.name != "lost+found" and not path.name.startswith(IN_PLACE)]


@contextmanager
def _temporary_folder(data: Path) -> Iterator[Path]:
    """Yield a folder that only its owner can read. It is removed afterwards unless it has been renamed."""
    folder = Path(tempfile.mkdtemp(prefix=f".restoring-{data.name}-", dir=_staging_parent(data)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(staged: Path, data: Path, aside: Path | None) -> list[tuple[Path, Path]]:
    """Move the present data to ``aside``, if given, and the new data into its place; return the renames.

    There are at most two, or one per entry if the data folder itself cannot be renamed.
    """
    if _staging_parent(data) == data:
        if aside is None and _entries_of(data):
            raise _holds_something(data)
        renames = [(path, data / path.name) for path in staged.iterdir()]
        if aside is not None:
            aside.mkdir(mode=0o700)
            renames = [(path, aside / path.name) for path in _entries_of(data)] + renames
    else:
        renames = [(staged, data)] if aside is None else [(data, aside), (staged, data)]
    done: list[tuple[Path, Path]] = []
    try:
        for old, new in renames:
            old.rename(new)
            done.append((old, new))
    except OSError as error:
        _put_back(done, aside)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process has filled it in the meantime
            raise _holds_something(data) from None
        raise
    return done


def _put_back(renames: list[tuple[Path, Path]], aside: Path | None) -> None:
    for old, new in reversed(renames):
        if not old.exists():
            new.rename(old)
    if aside is not None and aside.is_dir() and not any(aside.iterdir()):
        aside.rmdir()


def _put_on_server(server: Libraries, staged: Path, data: Path, occupied: bool, reporter: Reporter) -> Path | None:
    """Put the databases on a server and everything else in place, or change nothing."""
    with _temporary_folder(data) as before:
        saved: dict[str, Path] = {}
        for name in server.names(data):
            if name != PORTAL_DATABASE or server.is_used():
                saved[name] = before / f"{len(saved)}{DATABASE}"
                server.save(name, saved[name])
        aside = _free_name(data) if occupied else None
        renames: list[tuple[Path, Path]] = []
        try:
            with server.replaced_by(staged, reporter):
                os.sync()
                renames = _put_in_place(staged, data, aside)
        except BaseException:
            _put_back(renames, aside)
            raise
        if saved:
            aside = aside or _free_name(data)
            for name, copy in saved.items():
                place = aside / name
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # A file of that name dates from the time before this data folder used a server.
                copy.rename(place.with_name(f"from-server{DATABASE}") if place.exists() else place)
            server.forget(aside, saved)
        return aside


def _free_name(data: Path) -> Path:
    name = f".before-{datetime.now():%Y%m%d-%H%M%S}"
    path = data / name if _staging_parent(data) == data else data.with_name(data.name + name)
    while path.exists():
        path = path.with_name(f"{path.name}-")
    return path


def _holds_something(data: Path) -> HarkError:
    return HarkError(
        "The data folder is not empty.",
        f"{data} is not empty: restoring would mix its files with the backup.",
        "Use an empty one (--data), or --replace, which moves that folder aside and deletes nothing.",
    )


@contextmanager
def _without_portal(data: Path) -> Iterator[None]:
    lock = data / SERVING_LOCK
    if not lock.parent.is_dir():  # no portal has used it yet
        yield
        return

    def refusal(process: str) -> HarkError:
        return HarkError(
            "The portal is running on that data folder.",
            f"Process {process} serves it, and would continue with the old data.",
            "Stop ./hark serve, then run the same command again.",
        )

    with held(lock, refusal, 0):
        yield


@contextmanager
def serving(data: Path) -> Iterator[None]:
    """Mark a data folder as used by a portal (several may use it), so that no restore can start.

    Raises HarkError if a restore is running, and OSError if the folder is not writable.
    """

    def refusal(process: str) -> HarkError:
        return HarkError(
            "The portal cannot start now.",
            f"Process {process} is restoring a backup into its data folder.",
            "Wait until that has finished, then run the same command again.",
        )

    lock = data / SERVING_LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    with held(lock, refusal, 0, shared=True):
        yield


def _read_backup(archive: Path, into: Path | None, reporter: Reporter) -> Backup:
    reporter.stage("check", "Unpacking and checking the backup" if into else "Checking the backup")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened)
            backup = _manifest_of(opened, members)
            _compare({file.path for file in backup.files}, set(members))
            progress = Progress(reporter, len(backup.files))
            for file in backup.files:
                with opened.open(members[file.path]) as content:
                    _take(file, content, into)
                progress.advance()
    except FileNotFoundError as error:
        raise HarkError(f"{archive} does not exist.", "It was moved or renamed.", "Name another file.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(f"It is not a zip, or was cut off or changed: {error}.") from error
    except (RuntimeError, NotImplementedError, ValueError, struct.error, OverflowError) as error:
        raise _refused(f"It cannot be read: {error}.") from error  # encrypted, or an unknown method
    except OSError as error:
        raise _damaged(f"It cannot be read: {error.strerror or error}.") from error
    if into is not None:
        _disarm(into, reporter)
    return backup


def _disarm(staged: Path, reporter: Reporter) -> None:
    """Remove what would run when the portal starts: settings for other programs, and queued tasks."""
    settings, database = staged / NAME, staged / PORTAL_DATABASE
    try:
        if settings.is_file() and (names := remove_unknown(settings)):
            warning = f"Left out of the restored {NAME}, as it may decide which programs run: {', '.join(names)}."
            reporter.log(warning, "warning")
        if database.is_file():
            with closing(sqlite3.connect(database)) as opened, opened:
                there = opened.execute("SELECT name FROM sqlite_master WHERE name IN (?, ?, ?)", [*_QUEUE]).fetchall()
                for (name,) in there:
                    opened.execute(f"DELETE FROM {name} {_QUEUE[name]}")
    except (UnicodeDecodeError, sqlite3.Error) as error:
        raise _damaged(f"Its contents cannot be read: {error}.") from error


def _take(file: Entry, content: IO[bytes], into: Path | None) -> None:
    digest, size = hashlib.sha256(), 0
    with _new_file(into, file) as write:
        while block := content.read(BLOCK):
            size += len(block)
            if size > file.bytes:
                break
            digest.update(block)
            write(block)
    if size != file.bytes or digest.hexdigest() != file.sha256:
        raise _damaged(f"{file.path[:200]!r} in it is not what was backed up: its size or digest differs.")


@contextmanager
def _new_file(into: Path | None, file: Entry) -> Iterator[Callable[[bytes], object]]:
    if into is None:
        yield len
        return
    path = into / file.path
    private = file.path in SECRETS or file.path.startswith("portal/")
    doing = "the backup was not restored"
    with _writing(doing):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 if private else 0o644)
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused("A name in it is both a file and a folder.") from error
    target = os.fdopen(handle, "wb")

    def write(block: bytes) -> None:
        with _writing(doing):
            target.write(block)

    try:
        yield write
    finally:
        with _writing(doing):
            target.close()
            os.utime(path, (file.modified, file.modified))


def _manifest_of(opened: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> Backup:
    """Remove the manifest from the members and parse it."""
    if MANIFEST not in members:
        raise _refused("It has no manifest: ./hark backup did not make it.")
    with opened.open(members.pop(MANIFEST)) as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    if len(text) > MAX_MANIFEST_BYTES:
        raise _refused("Its manifest is too long.")
    try:
        content: dict[str, Any] = untrusted_json(text)
        if content["format"] != FORMAT:
            raise _refused(f"It was made by a different version of Hark: {str(content.get('hark'))[:40]!r}.")
        files = tuple(
            Entry(str(file["path"]), int(file["bytes"]), str(file["sha256"]), _time(file["modified"]))
            for file in content["files"]
        )
        if len({file.path for file in files}) < len(files):
            raise _refused("Its manifest names a file twice.")
        left_out = tuple(map(str, content["left_out"]))
        return Backup(_word(content["hark"]), _word(content["created"]), files, left_out)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged("Its manifest cannot be read.") from error


def _word(value: Any) -> str:
    """Return a short text that is safe to show in a terminal."""
    if not (isinstance(value, str) and value.isprintable() and len(value) <= 100):
        raise ValueError("no word")
    return value


def _time(value: Any) -> float:
    seconds = float(value)
    if not (math.isfinite(seconds) and 0 <= seconds < 1 << 40):
        raise ValueError("no time")
    return seconds


def _members(opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name: plain files that Hark backs up, each once."""
    members: dict[str, zipfile.ZipInfo] = {}
    if min((info.header_offset for info in opened.infolist()), default=0) > 0:
        raise _damaged("It is cut off.")  # the end of another zip inside it
    for info in opened.infolist():
        name = info.orig_filename
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.is_dir():
            raise _refused(f"{name[:200]!r} in it is a link, a folder or a special file.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(f"{name[:200]!r} in it is packed by a method that Hark does not use.")
        if name != MANIFEST and not (_is_safe(name) and name == info.filename and is_backed_up(PurePosixPath(name))):
            raise _refused(f"{name[:200]!r} in it is not a file of a backup.")
        if name in members:
            raise _refused(f"{name[:200]!r} is in it twice.")
        members[name] = info
    return members


def _compare(named: set[str], members: set[str]) -> None:
    if lacking := named - members:
        raise _damaged(f"{min(lacking)[:200]!r} is missing in it.")
    if beyond := members - named:
        raise _refused(f"{min(beyond)[:200]!r} in it is not in its manifest.")


def _is_safe(name: str) -> bool:
    """Return whether a name leads to a path below the folder, and has only one spelling."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    plain = "\0" not in name and "\\" not in name and not name.startswith("/")
    return plain and all(part not in ("", ".", "..") for part in name.split("/"))


def _damaged(why: str) -> HarkError:
    return HarkError("The backup is damaged.", why, "Use another copy of it, or an earlier backup.")


def _refused(why: str) -> HarkError:
    return HarkError("The file cannot be used as a backup.", why, "Use a file that ./hark backup has made.")
