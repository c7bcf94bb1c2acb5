"""Chunked uploads, so that a broken connection costs at most one chunk."""

from __future__ import annotations

import fcntl
import os
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from django.utils import timezone
from django.utils.translation import gettext as _

from core.data_folder import storage_error, storing
from core.errors import HarkError
from pipeline.recordings.files.media import clean_name, suffix_of
from webui.accounts.models import User
from webui.accounts.storage import add_bytes, user_data
from webui.http.errors import StatusError
from webui.jobs.quota import check_minutes, check_room
from webui.recordings.models import IN_CHUNKS, Recording, UploadInProgress
from webui.recordings.transcribing import intake
from webui.upload_limits import MAX_CHUNK_BYTES, check_disk, check_size

BLOCK = 256 * 1024  # bytes in memory
MAX_UNFINISHED = 200  # unfinished uploads per user
FORGOTTEN_AFTER = timedelta(days=1)


class WrongPlace(HarkError):
    """Raised for a chunk that does not begin at ``offset``, the end of the last one. The response is 409."""

    status = 409
    offset = 0


def begin(*, user: User, name: str, size: int) -> UploadInProgress:
    """Begin an upload of ``size`` bytes. Raises HarkError if it exceeds a limit or the disk is full."""
    old = UploadInProgress.objects.filter(touched_at__lt=timezone.now() - FORGOTTEN_AFTER)
    for abandoned in old.select_related("user"):
        discard(upload=abandoned)
    if size <= 0:
        raise HarkError(_("The recording is empty."), _("The file has 0 bytes."), _("Choose another file."))
    check_size(user, size)
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
        check_disk(folder_of(user), promised)
        upload.path.touch()
    upload.save(force_insert=True)
    return upload


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
                    _("This chunk does not continue the upload."),
                    _("The server has %(there)d bytes of the upload, but the chunk begins at byte %(at)d.")
                    % {"there": length, "at": at},
                    _("Continue from byte %(there)d.") % {"there": length},
                )
                error.offset = length
                raise error
            most = min(upload.size, length + MAX_CHUNK_BYTES)
            check_disk(upload.path.parent, most - length)
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
                _("This chunk is too long."),
                _("A chunk can have %(mb)d MB, and all chunks together the size announced at the start.")
                % {"mb": MAX_CHUNK_BYTES // 1_000_000},
                _("Send smaller chunks, or start again."),
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
    for each in together:
        if offset(each) != each.size:
            raise HarkError(
                _("The upload is not finished."),
                _("%(there)d of %(size)d bytes of %(name)s have arrived.")
                % {"there": offset(each), "size": each.size, "name": each.name},
                _("Send the rest first."),
            )
    with storing("saving the recording"):  # one of two requests that finish the same upload finds no file
        with_suffixes = [_named(each) for each in together] if len(together) > 1 else [upload.path]
        recording = intake.create_recording(
            user=user,
            name=upload.name,
            source=with_suffixes[0],
            options=options,
            more=with_suffixes[1:],
            identifier=upload.pk,
        )
    for each in together:
        discard(upload=each)
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
    folder = user_data(user) / IN_CHUNKS
    folder.mkdir(parents=True, exist_ok=True)
    return folder
