"""The jobs of the library: "import" and "align"."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import HarkError, LimitReached, UnusableFile
from core.events import Reporter
from core.worded import worded
from db.db_api import Library
from model.asr.emissions import default_aligner
from pipeline.corpora.alignment import align_clips, unaligned
from pipeline.corpora.archive import unpack_confined
from pipeline.corpora.importing import import_corpus

MAX_IMPORT_S = 6 * 3600  # time limit for an upload; 2 GB of speech take an hour


def import_job(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "import": a corpus in a ``folder`` on this machine, or an uploaded ``archive`` below the data folder.

    After a successful job, the portal removes the archive and its unpacked files.
    """
    if not spec.get("archive"):
        return _imported(Path(spec["folder"]), spec, data, reporter)
    archive = data / spec["archive"]
    unpacked = archive.parent / "unpacked"
    try:
        _end_after(MAX_IMPORT_S)
        return _imported(_unpack(archive, unpacked, reporter), spec, data, reporter)
    except BaseException as error:
        # Remove an archive that caused the error; any other is unpacked again on a retry.
        unneeded = archive.parent if isinstance(error, (UnusableFile, LimitReached)) else unpacked
        shutil.rmtree(unneeded, ignore_errors=True)
        raise


def _imported(folder: Path, spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    with Library(data) as library:
        return asdict(import_corpus(folder, library, spec["language"], reporter, spec.get("licence") or None))


def _unpack(archive: Path, unpacked: Path, reporter: Reporter) -> Path:
    """Unpack an archive; return the folder of its content."""
    if not archive.is_file():
        raise HarkError(
            worded("The upload no longer exists."),
            worded("It is removed when its import has finished."),
            worded("Upload it again."),
        )
    reporter.stage("unpack", worded("Unpacking %(file)s", file=archive.name))
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a killed job
    folder = unpacked / archive.name.split(".")[0]  # so that the corpus's name in the library is meaningful
    unpack_confined(archive, folder)
    # Most archives contain a single folder with all content; macOS adds a useless second one.
    while len(inside := [path for path in folder.iterdir() if path.name != "__MACOSX"]) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _end_after(seconds: int) -> None:
    def stop(number: int, frame: object) -> None:
        raise LimitReached(
            worded("The job was stopped."),
            worded("It took more than %(n)d hour.", "It took more than %(n)d hours.", n=seconds // 3600),
            worded("Upload the recordings in parts."),
        )

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)


def align_job(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "align": align all recordings of the library that mining would otherwise align first."""
    reporter.stage("align", worded("Aligning words and recordings"))
    aligner = default_aligner()
    with Library(data) as library:
        report = align_clips(library, aligner, library.clips(unaligned(library, aligner)), reporter)
    return {"aligned": len(report.aligned), "failed": len(report.failed)}
