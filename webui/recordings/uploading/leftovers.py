"""Unfinished files that a killed server left."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from django.conf import settings

from core.data_folder import remove_deleted
from pipeline.recordings.files.recording_folder import RECORDINGS
from webui.recordings.models import IN_CHUNKS
from webui.recordings.uploading.chunks import FORGOTTEN_AFTER
from webui.recordings.uploading.whole_files import RECEIVED

ABANDONED_AFTER_S = 3600.0  # seconds since the last write; no request pauses for so long

log = logging.getLogger(__name__)


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
        candidates += [(path, FORGOTTEN_AFTER.total_seconds()) for path in (own / IN_CHUNKS).glob("*-*")]
    for path, after_s in candidates:
        try:
            # Folders there belong to training runs.
            if path.is_file() and path.stat().st_mtime < time.time() - after_s:
                path.unlink()
        except OSError as error:
            log.warning("%s could not be removed: %s", path, error)
