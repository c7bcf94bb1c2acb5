"""An uploaded recording as a file on disk, for as long as it is listened to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from core.data_folder import storing
from core.errors import HarkError
from webui.errors import StatusError

LONGEST_SUFFIX = 10


class DataFolderUploads(TemporaryFileUploadHandler):
    """Large uploads come in on the data folder's disk: the system's folder for temporary files may be small."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        Path(settings.FILE_UPLOAD_TEMP_DIR).mkdir(parents=True, exist_ok=True)
        super().new_file(*args, **kwargs)


@contextmanager
def on_disk(upload: UploadedFile) -> Iterator[Path]:
    """The upload's file; what goes wrong with it is said of the name that it was sent under."""
    name = Path(upload.name or "recording").name
    folder = Path(settings.FILE_UPLOAD_TEMP_DIR)
    with storing("receiving the recording"):
        folder.mkdir(parents=True, exist_ok=True)
        kept = tempfile.NamedTemporaryFile(dir=folder, suffix=Path(name).suffix[:LONGEST_SUFFIX])  # noqa: SIM115
    with kept:
        with storing("receiving the recording"):
            for chunk in upload.chunks():
                kept.write(chunk)
            kept.flush()
        try:
            yield Path(kept.name)
        except HarkError as error:
            what, why, to_do = (text.replace(kept.name, name) for text in (error.what, error.why, error.what_to_do))
            raise StatusError(getattr(error, "status", 422), what, why, to_do) from error
