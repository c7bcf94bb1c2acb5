"""The limits of uploads: which URLs take a large body, how large, and when it is refused before it arrives."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.recordings.files.media import MediaLimits
from webui.accounts.models import User
from webui.http.body_limits import Body
from webui.http.errors import StatusError
from webui.jobs.quota import check_minutes, check_room
from webui.jobs.services import check_queue

MAX_FORM_BYTES, LARGE_AT_ONCE = 2_500_000, 10  # bytes; larger bodies are large: maximum simultaneous ones per user
MAX_CHUNK_BYTES = 8_000_000  # bytes of a recording per request
MAX_FILE_BYTES, AROUND_BYTES = 200_000_000, 1_000_000  # bytes of a file, and of the form around it
RESERVED_BYTES = 500_000_000  # bytes of free disk space that uploads must leave
COPIES = 3  # maximum copies of a body on the disk before its file is in place

_CHUNKS = re.compile(r"/recordings/uploads/[0-9a-f-]{36}")
_FILES = re.compile(
    r"/detectors/\d+/\d+/try/(file|mark)|/library/import/upload|/recordings/upload|/api/v1/\S+/(detect|samples)"
)
# Programs send whole recordings to these URLs, and only forms to others.
_RECORDINGS = re.compile(
    r"/upload|/interact|/v1/audio/(transcriptions|translations)"
    r"|/api/(asr/transcribe|voice-to-notes|meetings|v1/(transcribe|recordings))"
)
_QUEUED = re.compile(r"/upload|/recordings/upload|/api/meetings|/api/v1/(recordings|transcribe)")


def largest_body(path: str) -> int:
    """Return the maximum size of the body of a request to a path, in bytes."""
    if _CHUNKS.fullmatch(path):
        return MAX_CHUNK_BYTES
    if _RECORDINGS.fullmatch(path):
        return MediaLimits.from_environment().max_bytes + MAX_FORM_BYTES
    return MAX_FILE_BYTES + AROUND_BYTES if _FILES.fullmatch(path) else MAX_FORM_BYTES


def becomes_job(path: str) -> bool:
    """Return whether uploads to a path become jobs."""
    return _QUEUED.fullmatch(path) is not None


def check_body(body: Body, before: Sequence[Body]) -> None:
    """Check that a request's body may be received while the bodies ``before`` it are still arriving.

    Raises HarkError if the disk, the quota or the queue has no room, or if this user sends too many large bodies.
    """
    coming = [other for other in (*before, body) if not other.is_whole]
    of_user = [other for other in coming if other.user == body.user]
    if body.size > MAX_FORM_BYTES and sum(other.size > MAX_FORM_BYTES for other in of_user) > LARGE_AT_ONCE:
        raise StatusError(
            429,
            _("There are too many uploads at the same time."),
            _("%(most)d large uploads are unfinished.") % {"most": LARGE_AT_ONCE},
            _("Wait until one of them is finished."),
        )
    is_queued = becomes_job(body.path)
    if is_queued or body.size > MAX_FORM_BYTES:  # small audio that is not stored needs no quota
        check_room(body.user, sum(other.size for other in of_user))
    Path(settings.FILE_UPLOAD_TEMP_DIR).mkdir(parents=True, exist_ok=True)
    check_disk(settings.FILE_UPLOAD_TEMP_DIR, COPIES * sum(other.size for other in coming))
    if is_queued:
        check_minutes(body.user)
        check_queue(body.user, sum(other.user == body.user and other.path == body.path for other in before))


def check_size(user: User, size: int) -> None:
    """Raise StatusError (413) if a recording of ``size`` bytes is too large."""
    limits = MediaLimits.from_environment(owner=user.is_owner)
    try:
        limits.check_bytes(size)
    except HarkError as error:
        raise StatusError(413, error.what, error.why, error.what_to_do) from error


def check_disk(folder: Path, size: int) -> None:
    """Raise StatusError (507) if ``size`` bytes would not leave :data:`RESERVED_BYTES` of the disk."""
    if shutil.disk_usage(folder).free < size + RESERVED_BYTES:
        raise StatusError(
            507,
            _("There is no space for this recording."),
            _("The disk of this server is nearly full."),
            _("Delete recordings that are no longer needed, or ask the owner to make room."),
        )
