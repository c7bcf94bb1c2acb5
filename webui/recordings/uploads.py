"""Chunked uploads, so that a broken connection costs at most one chunk."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.translation import gettext as _

from core.data_folder import remove_deleted, storage_error, storing
from core.errors import HarkError
from pipeline.recordings.media import MediaFacts, MediaLimits, check_header, clean_name, suffix_of
from pipeline.recordings.recording_folder import RECORDINGS
from webui.accounts.models import User
from webui.accounts.storage import add_bytes, user_data
from webui.http.body_limits import Body
from webui.http.errors import StatusError
from webui.http.uploads import on_disk
from webui.jobs.quota import check_minutes, check_room, take_room
from webui.jobs.services import LimitReached, check_queue
from webui.recordings import intake
from webui.recordings.models import IN_PIECES, Recording, UploadInProgress
from webui.translation import explained

MAX_CHUNK_BYTES = 8_000_000  # bytes per request
BLOCK = 256 * 1024  # bytes in memory
MAX_UNFINISHED = 200  # unfinished uploads per user
RESERVED_BYTES = 500_000_000  # bytes of free disk space that uploads must leave
LARGE, LARGE_AT_ONCE = 2_500_000, 10  # bytes of a large body; maximum simultaneous ones per user
COPIES = 3  # maximum copies of a body on the disk before its file is in place
# Uploads to these URLs become jobs.
QUEUED = re.compile(r"/upload|/recordings/upload|/api/meetings|/api/v1/(recordings|transcribe)")
# Programs send whole recordings to these URLs, and only forms to others.
WHOLE = re.compile(
    r"/upload|/interact|/v1/audio/(transcriptions|translations)"
    r"|/api/(asr/transcribe|voice-to-notes|meetings|v1/(transcribe|recordings))"
)
FORGOTTEN_AFTER = timedelta(days=1)
ABANDONED_AFTER_S = 3600.0  # seconds since the last write; no request pauses for so long
RECEIVED = IN_PIECES.with_name("received")

log = logging.getLogger(__name__)


class WrongPlace(HarkError):
    """Raised for a chunk that does not begin at ``offset``, the end of the last one. The response is 409."""

    status = 409
    offset = 0


def check_body(body: Body, before: Sequence[Body]) -> None:
    """Check that a request's body may be received while the bodies ``before`` it are still arriving.

    Raises HarkError if the disk, the quota or the queue has no room, or if this user sends too many large bodies.
    """
    coming = [other for other in (*before, body) if not other.is_whole]
    of_user = [other for other in coming if other.user == body.user]
    if body.size > LARGE and sum(other.size > LARGE for other in of_user) > LARGE_AT_ONCE:
        raise StatusError(
            429,
            _("There are too many uploads at the same time."),
            _("%(most)d large uploads are unfinished.") % {"most": LARGE_AT_ONCE},
            _("Wait until one of them is finished."),
        )
    is_queued = QUEUED.fullmatch(body.path) is not None
    if is_queued or body.size > LARGE:  # small audio that is not stored needs no quota
        check_room(body.user, sum(other.size for other in of_user))
    Path(settings.FILE_UPLOAD_TEMP_DIR).mkdir(parents=True, exist_ok=True)
    _check_room(settings.FILE_UPLOAD_TEMP_DIR, COPIES * sum(other.size for other in coming))
    if is_queued:
        check_minutes(body.user)
        check_queue(body.user, sum(other.user == body.user and other.path == body.path for other in before))


def begin(*, user: User, name: str, size: int) -> UploadInProgress:
    """Begin an upload of ``size`` bytes. Raises HarkError if it exceeds a limit or the disk is full."""
    old = UploadInProgress.objects.filter(touched_at__lt=timezone.now() - FORGOTTEN_AFTER)
    for abandoned in old.select_related("user"):
        discard(upload=abandoned)
    if size <= 0:
        raise HarkError(_("The recording is empty."), _("The file has 0 bytes."), _("Choose another file."))
    intake.check_size(user, size)
    check_minutes(user)
    active_uploads = UploadInProgress.objects.owned_by(user)
    if active_uploads.count() >= MAX_UNFINISHED:
        raise StatusError(
            429,
            _("There are too many uploads at the same time."),
            _("%(most)d uploads are unfinished.") % {"most": MAX_UNFINISHED},
            _("Wait until some are finished; idle uploads are deleted after a day."),
        )
    upload = UploadInProgress(user=user, name=clean_name(name), size=size)
    with storing("receiving the recording"):
        # Only this user's uploads count: those of others may never arrive. On a full disk, chunks can be sent again.
        promised = size + sum(one.size - offset(one) for one in active_uploads)
        check_room(user, promised)
        _check_room(folder_of(user), promised)
        upload.path.touch()
    upload.save(force_insert=True)
    return upload


def _check_room(folder: Path, size: int) -> None:
    """Raise StatusError (507) if ``size`` bytes would not leave :data:`RESERVED_BYTES` of the disk."""
    if shutil.disk_usage(folder).free < size + RESERVED_BYTES:
        raise StatusError(
            507,
            _("There is no space for this recording."),
            _("The disk of this server is nearly full."),
            _("Delete recordings that are no longer needed, or ask the owner to make room."),
        )


def offset(upload: UploadInProgress) -> int:
    try:
        return upload.path.stat().st_size
    except OSError:
        return 0


def append(*, upload: UploadInProgress, at: int, body: IO[bytes] | Any) -> int:
    """Append a chunk that begins at byte ``at``, read from ``body``; return the new length.

    A chunk that is too long, or that makes the file longer than announced, leaves no data. One for which there is no
    space can be sent again later, because earlier chunks remain. Raises WrongPlace if it does not begin where the last
    one ended, and HarkError if it is too long or the disk is (nearly) full.
    """
    try:
        with upload.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of two identical chunks, the second waits, then fails: WrongPlace
            length = file.seek(0, os.SEEK_END)
            if at != length:
                error = WrongPlace(
                    _("This part does not continue the upload."),
                    _("The server has %(there)d bytes of the upload, but the part begins at byte %(at)d.")
                    % {"there": length, "at": at},
                    _("Continue from byte %(there)d.") % {"there": length},
                )
                error.offset = length
                raise error
            most = min(upload.size, length + MAX_CHUNK_BYTES)
            _check_room(upload.path.parent, most - length)
            try:
                end = _copy(body, file, length, most)
            except BaseException:
                file.truncate(length)
                raise
    except FileNotFoundError as error:
        raise HarkError(
            _("The upload no longer exists."),
            _("It was finished or cancelled, or nothing arrived for a day."),
            _("Start again if the recording is missing."),
        ) from error
    except OSError as error:
        raise storage_error(error, "receiving the recording") from error
    add_bytes(user_data(upload.user), end - length)
    UploadInProgress.objects.filter(pk=upload.pk).update(touched_at=timezone.now())
    return end


def _copy(body: IO[bytes] | Any, file: IO[bytes], start: int, max_bytes: int) -> int:
    """Write the body after ``start``; return the new end. Raises StatusError (413) if it would exceed ``max_bytes``."""
    end = start
    while block := body.read(BLOCK):
        end += len(block)
        if end > max_bytes:
            raise StatusError(
                413,
                _("This part is too long."),
                _("A part can have %(mb)d MB, and all parts together the size announced at the start.")
                % {"mb": MAX_CHUNK_BYTES // 1_000_000},
                _("Send smaller parts, or start again."),
            )
        file.write(block)
    file.flush()
    return end


def finish(
    *, user: User, upload: UploadInProgress, options: dict[str, Any], more: list[UploadInProgress] | None = None
) -> Recording:
    """Create a recording from complete uploads, which remain if that fails.

    Raises HarkError if an upload is incomplete, and the errors of ``intake.create_recording``.
    """
    together = [upload, *(more or [])]
    for part in together:
        if offset(part) != part.size:
            raise HarkError(
                _("The upload is not finished."),
                _("%(there)d of %(size)d bytes of %(name)s have arrived.")
                % {"there": offset(part), "size": part.size, "name": part.name},
                _("Send the rest first."),
            )
    with storing("saving the recording"):  # one of two requests that finish the same upload finds no file
        with_suffixes = [_named(part) for part in together] if len(together) > 1 else [upload.path]
        recording = intake.create_recording(
            user=user,
            name=upload.name,
            source=with_suffixes[0],
            options=options,
            more=with_suffixes[1:],
            identifier=upload.pk,
        )
    for part in together:
        discard(upload=part)
    return recording


def _named(upload: UploadInProgress) -> Path:
    """Hard-link the upload under its original suffix, and return the link; the upload itself remains."""
    path = upload.path.with_name(upload.path.name + suffix_of(upload.name))
    if path != upload.path:
        path.unlink(missing_ok=True)
        path.hardlink_to(upload.path)
    return path


def discard(*, upload: UploadInProgress) -> None:
    for path in upload.path.parent.glob(f"{upload.id.hex}*"):
        path.unlink(missing_ok=True)
    upload.delete()


def folder_of(user: User) -> Path:
    """Return the folder for uploads. Raises OSError if it cannot be created."""
    folder = user_data(user) / IN_PIECES
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def saved_upload(user: User, upload: UploadedFile) -> Iterator[Path]:
    """Store the file in the user's data as :func:`on_disk` does, and count it in the quota.

    Raises HarkError if the disk is full, or the file is too large.
    """
    size = upload.size or 0
    intake.check_size(user, size)
    take_room(user, size)
    with on_disk(upload, user_data(user) / RECEIVED) as path:
        yield path


@contextmanager
def received(user: User, upload: UploadedFile) -> Iterator[tuple[Path, MediaFacts]]:
    """Store the file as :func:`saved_upload` does, and return its path and the facts in its header.

    Raises HarkError if either fails.
    """
    with saved_upload(user, upload) as path:
        yield path, check_header(path, MediaLimits.from_environment(owner=user.is_owner))


def name_of(upload: UploadedFile) -> str:
    return clean_name(upload.name or "recording")


def one_by_one(
    sent: Sequence[UploadedFile], take: Callable[[UploadedFile], Recording]
) -> tuple[list[Recording], list[dict[str, str]]]:
    """Return the recordings made from the files, and the rejected files with reasons.

    Raises HarkError if all are rejected.
    """
    recordings: list[Recording] = []
    refused: list[dict[str, str]] = []
    for number, upload in enumerate(sent):
        try:
            recordings.append(take(upload))
        except LimitReached as error:  # the rest would be rejected too
            if not recordings:
                raise
            refused += [{"filename": name_of(one), **explained(error)} for one in sent[number:]]
            break
        except HarkError as error:
            if len(sent) == 1:
                raise
            refused.append({"filename": name_of(upload), **explained(error)})
    if not recordings:
        why = " ".join(f"{one['filename']}: {one['what']} {one['why']}" for one in refused)
        raise HarkError(_("No recording was accepted."), why, _("Choose other files."))
    return recordings, refused


def remove_leftovers() -> None:
    """Remove unfinished files that a killed server left. It is called when the server starts.

    Another server may use the same data on another port. So a file is removed only if no process has written to it for
    so long that it cannot belong to a request: an hour, or a day for live audio. Chunked uploads, which can be
    continued, are not among these files. The remains of failed deletions are removed immediately.
    """
    data = Path(settings.DATA)
    candidates = [(path, ABANDONED_AFTER_S) for path in Path(settings.FILE_UPLOAD_TEMP_DIR).glob("*")]
    for own in (data, *(data / "users").glob("*")):
        for folder in (RECORDINGS, "jobs", "models"):
            try:
                remove_deleted(own / folder)
            except OSError as error:
                log.warning("files of a deleted recording or detector could not be removed: %s", error)
        candidates += [(path, ABANDONED_AFTER_S) for path in (own / RECEIVED).glob("*")]
        candidates += [(path, FORGOTTEN_AFTER.total_seconds()) for path in (own / IN_PIECES).glob("*-*")]
    for path, after_s in candidates:
        try:
            # Folders there belong to training runs.
            if path.is_file() and path.stat().st_mtime < time.time() - after_s:
                path.unlink()
        except OSError as error:
            log.warning("%s could not be removed: %s", path, error)
