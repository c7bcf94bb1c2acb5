"""A process that opens untrusted files as Hark does, and reports the outcome to ``hostile.py``."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import write_audio
from core.errors import HarkError
from core.events import silent_reporter
from core.worker_protocol import serve

MAX_DURATION_S = 1800.0  # maximum seconds of a recording
RUN = "a-run"


def _sound(path: Path, data: Path) -> None:
    """Open a file as an uploaded recording, and as a recording to try a detector on; raise HarkError if both fail."""
    from core.confinement.foreign_audio import read_foreign_audio
    from pipeline.recordings.files.media import MediaLimits, normalize

    target = data / "audio" / "1" / "audio.flac"
    refusals = []
    for take in (
        lambda: normalize(path, target, MediaLimits(max_seconds=MAX_DURATION_S)),
        lambda: read_foreign_audio(path, max_seconds=60.0),
    ):
        try:
            take()
        except HarkError as error:
            refusals.append(error)
    target.unlink(missing_ok=True)
    if len(refusals) == 2:
        raise refusals[0]


def _corpus(path: Path, data: Path) -> None:
    """Import a file as an uploaded archive."""
    from pipeline.corpora.jobs import import_job

    upload = data / "uploads" / "1" / path.name
    upload.parent.mkdir(parents=True)
    shutil.copyfile(path, upload)
    report = import_job({"archive": f"uploads/1/{path.name}", "language": "en"}, data, silent_reporter())
    shutil.rmtree(upload.parent)  # as the portal does after a successful job
    if not report["added"] + report["already_there"]:
        raise HarkError("The import added no recordings.", f"{report['skipped']}", "The reasons are counted above.")


def _bundle(path: Path, data: Path) -> None:
    """Open and run a file as a detector from another user."""
    from pipeline.serving.detection import listen, open_detector

    quiet = data / "quiet.wav"
    write_audio(quiet, np.full(16_000, 0.01, np.float32))
    try:
        result = listen(open_detector(path), quiet, silent_reporter())
    finally:
        quiet.unlink()
    if result.failure is not None:
        raise result.failure


def _checkpoint(path: Path, data: Path) -> None:
    """Open a file as the checkpoint that a training run continues from."""
    from pipeline.training.measuring.comparison import version_before
    from pipeline.training.workspace.run_folder import RunFolder

    place = RunFolder(data, RUN).checkpoint
    place.parent.mkdir(parents=True)
    try:
        shutil.copyfile(path, place)
        version_before(data, RUN)
    finally:
        shutil.rmtree(place.parent.parent)


def _weights(path: Path, data: Path) -> None:
    from model.large.phone_head import PhoneHead
    from model.weights import load_weights

    load_weights(path, PhoneHead)


DOORS: Mapping[str, Callable[[Path, Path], None]] = {
    "sound": _sound, "corpus": _corpus, "bundle": _bundle, "checkpoint": _checkpoint, "weights": _weights,
}  # fmt: skip


def _open(request: dict[str, Any]) -> dict[str, Any]:
    """Serve a request with ``door``, ``path`` and ``data``; the answer has the error's sentences if it is refused."""
    try:
        DOORS[request["door"]](Path(request["path"]), Path(request["data"]))
    except HarkError as error:
        return {"refused": error.as_dict()}
    finally:
        gc.collect()
    return {}


if __name__ == "__main__":
    serve(lambda: ({}, _open))
