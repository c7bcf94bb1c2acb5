"""Unpacking of untrusted archives, which writes nothing outside the folder, and limits sizes.

Every name is checked before anything is written, links and special files are rejected, and bytes and files are counted
as they are written, whatever the archive claims.
"""

from __future__ import annotations

import bz2
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from core.confinement.call import called
from core.data_folder import storing
from core.errors import HarkError
from core.worded import number, worded

MAX_TOTAL_BYTES = 2_000_000_000  # bytes after unpacking
MAX_FILES = 20_000
MAX_NAME_LENGTH = 240  # bytes per name in a path; file systems allow 255
DEEPEST = 12  # maximum nested folders
BLOCK = 1 << 16
MAX_HEADER_BYTES = 1 << 20  # maximum bytes of a tar member's description
MAX_DIRECTORY_BYTES = 16_000_000  # maximum bytes of a zip's table of contents
_END_OF_ZIP, _END_OF_ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES = 22, 20
_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File}


def unpack(archive: Path | str, folder: Path | str) -> int:
    """Unpack a zip or tar (plain, gz, bz2) into a new or empty folder; return the number of files.

    Raises:
        HarkError: it is not a zip or tar, is damaged or too large, or has a link or a name that leads out of the
            folder. The caller removes the files unpacked so far.
        OSError: a file cannot be read or written.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        count = total = 0
        seen: set[str] = set()
        for members, (name, content) in enumerate(_members(archive), 1):
            if members > MAX_FILES:
                raise refused(worded("It has more than %(most_files)s files.", most_files=MAX_FILES))
            if content is None:
                continue
            count += 1
            target = folder / _safe(name)
            # Some file systems treat "A" and "a" as the same name.
            if str(target).casefold() in seen:
                raise refused(worded("It contains the name %(name)s twice.", name=repr(name[:100])))
            seen.add(str(target).casefold())
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as written:
                while block := content.read(BLOCK):
                    total += len(block)
                    if total > MAX_TOTAL_BYTES:
                        raise refused(worded("It is larger than %(gb)s GB.", gb=number(MAX_TOTAL_BYTES / 1e9)))
                    written.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise refused(worded("It contains a file and a folder of the same name.")) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, _TooLarge) as error:
        raise refused(worded("It is damaged: %(error)s.", error=str(error))) from error
    except (RuntimeError, NotImplementedError, ValueError, struct.error) as error:
        # It is encrypted, or the method is unknown.
        raise refused(worded("It cannot be read: %(error)s.", error=str(error))) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # gzip and bz2 report damaged data by these.
        raise refused(worded("It is damaged: %(error)s.", error=str(error))) from error
    return count


def unpack_confined(archive: Path, folder: Path) -> None:
    """Run :func:`unpack` in a confined process. Raises UnusableFile, or StorageError if the disk is at fault."""
    with storing("unpacking the archive"):
        folder.mkdir(parents=True, exist_ok=True)
        for _count in called("pipeline.corpora.archive:unpack", [str(archive), str(folder)], [archive], [folder]):
            pass  # a compromised process may yield anything


def refused(why: str) -> HarkError:
    """Return the error for an archive that is rejected."""
    return HarkError(
        worded("The archive cannot be used."),
        why,
        worded("Pack the recordings and their transcripts as a plain zip or tar.gz."),
    )


class _TooLarge(Exception):
    pass


def _safe(name: str) -> PurePosixPath:
    """Return a member's path below the folder. Raises HarkError if it leads elsewhere or is invalid on a disk."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    leads_out = plain.startswith("/") or ".." in parts or (parts and parts[0][1:2] == ":")
    if leads_out or "\0" in plain or not parts:
        raise refused(worded("The name %(name)s in it points outside its folder.", name=repr(name[:100])))
    if len(parts) > DEEPEST or any(len(part.encode(errors="surrogateescape")) > MAX_NAME_LENGTH for part in parts):
        raise refused(worded("The name %(name)s in it is too long.", name=repr(name[:100])))
    return PurePosixPath(*parts)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield name and content of every file. The content of a folder is None."""
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        yield from _members_of_zip(archive)
        return
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None and not tarfile.is_tarfile(archive):
        raise refused(worded("It is neither a zip nor a tar."))
    with opener(archive) if opener else archive.open("rb") as plain:
        yield from _members_of_tar(plain)


def _members_of_zip(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    _check_directory(archive)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                name = repr(info.filename[:100])
                raise refused(worded("%(name)s in it is a link or a special file.", name=name))
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise refused(worded("It uses an unsupported compression method."))  # some require gigabytes of memory
            if info.is_dir():
                yield info.filename, None
            else:
                with opened.open(info) as content:
                    yield info.filename, content


def _check_directory(archive: Path) -> None:
    """Reject a zip whose table of contents is too large, because zipfile reads all of it into memory."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES - (1 << 16)))
        tail = file.read()
    at = tail.rfind(_END_OF_ZIP)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise refused(worded("It is damaged: its end is missing."))
    (directory,) = struct.unpack("<I", tail[at + 12 : at + 16])
    if directory > MAX_DIRECTORY_BYTES or _END_OF_ZIP64 in tail[max(0, at - _LOCATOR_BYTES) : at]:
        raise refused(worded("It has more than %(most_files)s files.", most_files=MAX_FILES))


def _members_of_tar(plain: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(fileobj=cast(IO[bytes], _InSmallPieces(plain)), mode="r:") as opened:
        for member in opened:
            opened.members.clear()  # type: ignore[attr-defined]  # else tarfile would keep them all
            if member.isdir():
                yield member.name, None
                continue
            if not member.isfile() or member.sparse is not None:
                raise refused(worded("%(name)s in it is a link or a special file.", name=repr(member.name[:100])))
            content = opened.extractfile(member)
            assert content is not None
            yield member.name, content


class _InSmallPieces(io.RawIOBase):
    """A file that rejects large reads and skips, because tarfile reads a member's description as a whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise _TooLarge("a member's description is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > 2 * MAX_TOTAL_BYTES:
            raise _TooLarge("it is longer than what may be unpacked")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
