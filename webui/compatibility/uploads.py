"""Uploaded files of the compatibility endpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from core.errors import HarkError
from webui.api.endpoints import wrong
from webui.audio.models import Recording
from webui.audio.uploads import name_of
from webui.jobs.services import LimitReached
from webui.translation import explained


def sent_files(request: HttpRequest, *names: str) -> list[UploadedFile]:
    """Return the files in any of these fields, in the order of the fields. Raises StatusError if there are none."""
    files = [file for name in names for file in request.FILES.getlist(name)]
    if not files:
        raise wrong(
            "No recording was sent.",
            f"The form has no file in a field named {' or '.join(names)}.",
            f"Send multipart/form-data, such as curl -F {names[0]}=@recording.wav.",
        )
    return files


def sent_file(request: HttpRequest, *names: str) -> UploadedFile:
    """Return the only file in these fields. Raises StatusError unless there is exactly one."""
    files = sent_files(request, *names)
    if len(files) > 1:
        raise wrong("There are several files.", f"{len(files)} were sent; this URL takes one.", "Send one at a time.")
    return files[0]


def one_by_one(
    sent: Sequence[UploadedFile], take: Callable[[UploadedFile], Recording]
) -> tuple[list[Recording], list[dict[str, str]]]:
    """Return the recordings made of files, and the rejected files with reasons. Raises HarkError if all are."""
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
        raise wrong("None of the recordings was taken.", why, "Send others.")
    return recordings, refused
