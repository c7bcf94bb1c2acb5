"""Files of a version: downloads, its bundle with another default rate, and files for devices."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.http import FileResponse, Http404, HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import HarkError
from db.records import REAL_ENGINES
from model.runtime.detector import Bundle, BundleError
from pipeline.training.configuration.devices import OWN_FORMAT
from pipeline.training.packing.targets import files_for
from pipeline.training.workspace.run_folder import RunFolder
from webui.accounts.models import User
from webui.http.errors import StatusError
from webui.trainer.models import Version

DATASET = "dataset.jsonl"
IN_MEMORY = 16_000_000  # bytes of a bundle in memory; a larger one is created on disk

# Downloads other than the bundle, with descriptions.
FILES = {
    "model.onnx": gettext_lazy("for onnxruntime: raw audio in, scores out"),
    "model.int8.onnx": gettext_lazy("the same with 8-bit weights: small, not faster"),
    "model.pt": gettext_lazy("Hark's checkpoint for further training; it needs Hark"),
    "report.html": gettext_lazy("this report as one file"),
    "report.json": gettext_lazy("this report for programs"),
    "det.png": gettext_lazy("the DET curve as a picture"),
    "README.md": gettext_lazy("which device takes which file, and the commands to use it"),
    "MODEL_CARD.md": gettext_lazy("what it is, how it was measured, and its limits"),
    "LICENSES.txt": gettext_lazy("every voice and corpus that it was made from"),
    DATASET: gettext_lazy("the clips used, as a NeMo manifest (JSON lines; paths from your data folder)"),
}


@dataclass(frozen=True)
class DeviceFile:
    """A file as served to a device, with its ``digest`` (SHA-256) and time (``modified`` [s since 1970])."""

    content: bytes
    suffix: str
    digest: str
    modified: int


def downloads(version: Version) -> list[dict[str, Any]]:
    """List the existing files with descriptions and sizes [bytes]."""
    sizes = sizes_in_bundle(version)
    rows = []
    for name, words in FILES.items():
        path = dataset_table(version) if name == DATASET else version.path / name
        if path.is_file():
            size = None if name == DATASET else path.stat().st_size  # created on demand
        elif name in sizes:
            size = sizes[name]
        else:
            continue
        rows.append({"name": name, "words": words, "bytes": size})
    return rows


def bundle_size(version: Version) -> int | None:
    """Return the size of the bundle [bytes]; None if it is missing."""
    try:
        return version.bundle_path.stat().st_size
    except OSError:
        return None


def sizes_in_bundle(version: Version) -> dict[str, int]:
    """Return the size of each file in the bundle [bytes], by name; {} if the bundle is missing or damaged."""
    try:
        with zipfile.ZipFile(version.bundle_path) as archive:
            return {entry.filename: entry.file_size for entry in archive.infolist()}
    except (OSError, zipfile.BadZipFile):
        return {}


def device_file(version: Version, name: str) -> DeviceFile:
    """Return a manifest or model for a device by its name in the bundle.

    Raises Http404 if the file does not exist, and StatusError (410) if the bundle is missing or damaged.
    """
    path = version.bundle_path
    try:
        bundle = Bundle(path)
        names = [each for device in OWN_FORMAT for each in files_for(device, bundle.manifest["files"])]
        if name not in names:
            raise Http404
        content = bundle.read(name)
        modified = int(path.stat().st_mtime)
    except (BundleError, OSError) as error:
        raise _gone(name) from error
    return DeviceFile(content, Path(name).suffix, bundle.manifest["files"][name], modified)


def _gone(name: str) -> StatusError:
    return StatusError(
        410,
        _("%(file)s is missing.") % {"file": name},
        _("It is neither in the folder of this version nor in a bundle there."),
        _("Restore the folder from a backup, or train the phrase again."),
    )


def file_response(version: Version, name: str, reader: User) -> FileResponse:
    """Return one of :data:`FILES` as a download, because an opened report would run under this site's origin.

    Raises Http404 if the name is unknown, and StatusError (410) if it is neither in the folder nor in the bundle.
    """
    if name not in FILES:
        raise Http404
    path = version.path / name
    opened: IO[bytes]
    if name == DATASET:
        opened = io.BytesIO(dataset_manifest(version, reader))
    elif path.is_file():
        opened = path.open("rb")
    else:
        try:
            opened = io.BytesIO(Bundle(version.bundle_path).read(name))
        except BundleError as error:
            raise _gone(name) from error
    return FileResponse(opened, as_attachment=True, filename=name)


def asked_rate(request: HttpRequest) -> float | None:
    """Return ``?fa_per_day=`` of a URL; None without one. Raises HarkError if it is not a number."""
    text = request.GET.get("fa_per_day")
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise HarkError(
            _("Invalid false-alarm rate."), _("“%s” is not a number.") % text[:40], _("Enter a number such as 2.")
        ) from error


def bundle_response(version: Version, fa_per_day: float | None) -> FileResponse:
    """Return the bundle as a download, with ``fa_per_day`` as its default rate. Raises StatusError if it is missing."""
    path, name = bundle_file(version), version.bundle
    file: IO[bytes]
    if fa_per_day is None:
        file = path.open("rb")
    else:
        from pipeline.training.packing.bundle import bundle_at

        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  the response closes it
        try:
            bundle_at(path, fa_per_day, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        name = f"{path.stem}-{fa_per_day:g}-a-day.zip"
    return FileResponse(file, as_attachment=True, filename=name)


def bundle_file(version: Version) -> Path:
    """Return the bundle's path. Raises StatusError if it is missing."""
    path = version.bundle_path
    if not path.is_file():
        raise _gone(version.bundle)
    return path


def dataset_manifest(version: Version, reader: User) -> bytes:
    """Return the clips of a version's training and test as JSON lines in the format of NVIDIA NeMo.

    Paths are relative to the user's data folder, where the file belongs. Other readers of a shared detector do not
    get text and speaker of people's clips. Raises StatusError if the run's table is missing.
    """
    try:
        with dataset_table(version).open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
    except OSError as error:
        raise StatusError(
            410,
            _("The list of clips is missing."),
            _("The folder of the training run was removed; the clips are still in the library."),
            _("Train the phrase again to get a list."),
        ) from error
    if version.detector.user_id != reader.pk:
        for row in rows:
            row |= {"text": "", "speaker": ""} if row["engine"] in REAL_ENGINES else {}
    lines = [
        json.dumps(
            {
                "audio_filepath": "/".join(Path(row["path"]).parts[-3:]),  # clips/ab/abcd.flac
                "text": row["text"],
                "duration": float(row["seconds"]),
                **{name: row[name] for name in ("bucket", "engine", "voice", "speaker", "split", "licence")},
            },
            ensure_ascii=False,
        )
        for row in rows
    ]
    return "".join(line + "\n" for line in lines).encode()


def dataset_table(version: Version) -> Path:
    """Return the run's table of clips."""
    return RunFolder(version.path.parents[1], version.path.name).clips
