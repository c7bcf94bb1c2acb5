"""Files that arrive whole, in the form of one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.recordings.files.media import MediaFacts, MediaLimits, check_header, clean_name
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.http.uploads import on_disk
from webui.jobs.quota import take_room
from webui.jobs.services import TooManyJobs
from webui.recordings.models import IN_CHUNKS, Recording
from webui.translation import explained
from webui.upload_limits import check_size

RECEIVED = IN_CHUNKS.with_name("received")


@contextmanager
def saved_upload(user: User, upload: UploadedFile) -> Iterator[Path]:
    """Store the file in the user's data as :func:`on_disk` does, and count it in the quota.

    Raises HarkError if the disk is full, or the file is too large.
    """
    size = upload.size or 0
    check_size(user, size)
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
        except TooManyJobs as error:  # the rest would be rejected too
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
