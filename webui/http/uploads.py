"""Uploaded recordings as files on disk while they are processed."""

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
from pipeline.recordings.files.media import suffix_of
from webui.http.errors import StatusError, status_of


class DataFolderUploads(TemporaryFileUploadHandler):
    """Stores large uploads on the data folder's disk, because the system's temporary folder may be small."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        Path(settings.FILE_UPLOAD_TEMP_DIR).mkdir(parents=True, exist_ok=True)
        super().new_file(*args, **kwargs)


@contextmanager
def on_disk(upload: UploadedFile, folder: Path | None = None) -> Iterator[Path]:
    """Write the upload to a file in ``folder``, which is removed afterwards unless it was moved.

    Errors give the file's name as uploaded. Raises HarkError if the disk is full.
    """
    name = Path(upload.name or "recording").name
    folder = folder or Path(settings.FILE_UPLOAD_TEMP_DIR)
    path: Path | None = None
    try:
        with storing("receiving the recording"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix_of(name), delete=False) as file:
                path = Path(file.name)
                for chunk in upload.chunks():
                    file.write(chunk)
        yield path
    except HarkError as error:
        if path is None or str(path) not in str(error):
            raise
        what, why, to_do = (text.replace(str(path), name) for text in (error.what, error.why, error.what_to_do))
        raise StatusError(status_of(error), what, why, to_do) from error
    finally:
        if path is not None:
            path.unlink(missing_ok=True)
