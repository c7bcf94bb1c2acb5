"""Uploaded files of the compatibility endpoints."""

from __future__ import annotations

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from webui.api.endpoints import wrong


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
