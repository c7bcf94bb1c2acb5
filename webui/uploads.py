"""An uploaded recording as a file on disk, for as long as it is listened to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from core.data_folder import storage_error
from core.errors import HarkError

LONGEST_SUFFIX = 10


@contextmanager
def on_disk(upload: UploadedFile) -> Iterator[Path]:
    """The upload's file; what goes wrong with it is said of the name that it was sent under."""
    name = Path(upload.name or "recording").name
    folder = Path(settings.DATA) / "tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = tempfile.NamedTemporaryFile(dir=folder, suffix=Path(name).suffix[:LONGEST_SUFFIX])  # noqa: SIM115
    except OSError as error:
        raise storage_error(error, "receiving the recording") from error
    with kept:
        try:
            for chunk in upload.chunks():
                kept.write(chunk)
            kept.flush()
        except OSError as error:
            raise storage_error(error, "receiving the recording") from error
        try:
            yield Path(kept.name)
        except HarkError as error:
            texts = (text.replace(kept.name, name) for text in (error.what, error.why, error.what_to_do))
            said = HarkError(*texts)
            said.__dict__.update({"status": getattr(error, "status", 422)})
            raise said from error
