"""The limits of uploads before their bodies arrive: the disk, the quota, the queue."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from webui.http.body_limits import Body
from webui.http.errors import StatusError
from webui.jobs.quota import check_minutes, check_room
from webui.jobs.services import check_queue

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
    check_disk(settings.FILE_UPLOAD_TEMP_DIR, COPIES * sum(other.size for other in coming))
    if is_queued:
        check_minutes(body.user)
        check_queue(body.user, sum(other.user == body.user and other.path == body.path for other in before))


def check_disk(folder: Path, size: int) -> None:
    """Raise StatusError (507) if ``size`` bytes would not leave :data:`RESERVED_BYTES` of the disk."""
    if shutil.disk_usage(folder).free < size + RESERVED_BYTES:
        raise StatusError(
            507,
            _("There is no space for this recording."),
            _("The disk of this server is nearly full."),
            _("Delete recordings that are no longer needed, or ask the owner to make room."),
        )
