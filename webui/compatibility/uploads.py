"""Files that are sent to these addresses, on disk below the user's data, within the limits of every upload."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from core.errors import HarkError
from pipeline.recordings.media import MediaFacts, MediaLimits, check_header, clean_name
from webui.accounts.models import User
from webui.audio.models import Recording
from webui.audio.uploads import on_disk
from webui.compatibility.endpoint import wrong
from webui.jobs.services import LimitReached
from webui.translation import explained

# Addresses whose bodies hold whole recordings; all others take no more than a form.
_WHOLE = re.compile(
    r"/upload|/interact|/v1/audio/(transcriptions|translations)"
    r"|/api/(asr/transcribe|voice-to-notes|meetings|v1/(transcribe|recordings))"
)


def takes_recordings(path: str) -> bool:
    return _WHOLE.fullmatch(path) is not None


def sent_files(request: HttpRequest, *names: str) -> list[UploadedFile]:
    """The files in any of these fields, in the order of the fields. Raises StatusError where there is none."""
    found = [file for name in names for file in request.FILES.getlist(name)]
    if not found:
        raise wrong(
            "No recording was sent.",
            f"The form has no file in a field named {' or '.join(names)}.",
            f"Send multipart/form-data, such as curl -F {names[0]}=@recording.wav.",
        )
    return found


def sent_file(request: HttpRequest, *names: str) -> UploadedFile:
    """The one file in one of these fields. Raises StatusError where there is none, or more than one."""
    found = sent_files(request, *names)
    if len(found) > 1:
        raise wrong("There are several files.", f"{len(found)} were sent; this address takes one.", "Send one a time.")
    return found[0]


def name_of(upload: UploadedFile) -> str:
    return clean_name(upload.name or "recording")


def one_by_one(
    sent: Sequence[UploadedFile], take: Callable[[UploadedFile], Recording]
) -> tuple[list[Recording], list[dict[str, str]]]:
    """The recordings that were made of files, and which files were refused, and why. Raises HarkError: none was
    taken."""
    made: list[Recording] = []
    refused: list[dict[str, str]] = []
    for number, upload in enumerate(sent):
        try:
            made.append(take(upload))
        except LimitReached as error:  # so would the rest be
            if not made:
                raise
            refused += [{"filename": name_of(one), **explained(error)} for one in sent[number:]]
            break
        except HarkError as error:
            if len(sent) == 1:
                raise
            refused.append({"filename": name_of(upload), **explained(error)})
    if not made:
        why = " ".join(f"{one['filename']}: {one['what']} {one['why']}" for one in refused)
        raise wrong("None of the recordings was taken.", why, "Send others.")
    return made, refused


@contextmanager
def received(user: User, upload: UploadedFile) -> Iterator[tuple[Path, MediaFacts]]:
    """The upload as a file on the disk of the user's data (``webui.audio.uploads.on_disk``), and what its header says.
    Raises HarkError: it is too large, the disk is full, or its header shows that it is no recording or too long."""
    with on_disk(user, upload) as path:
        yield path, check_header(path, MediaLimits.from_environment(owner=user.is_owner))
