"""Streams MLCommons' People's Speech (huggingface.co/datasets/MLCommons/peoples_speech) or a local copy of its format.

The format: parquet files whose rows have ``id``, ``audio`` (a struct of ``bytes``, an encoded file, and ``path``),
``text``, ``duration_ms`` and in some copies ``licence`` or ``license``. Rows are streamed, so disk and memory hold only
a part of the corpus at a time.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from core import environments
from core.audio_file import SAMPLE_RATE
from core.data_folder import data_folder
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import worded
from core.worker_process import WorkerGone, WorkerProcess

REPOSITORY = "MLCommons/peoples_speech"
CORPUS = "peoples-speech"
# The licences of the corpus's parts, from its page; a row's own licence takes precedence.
LICENCES = {"clean": "CC-BY", "dirty": "CC-BY", "clean_sa": "CC-BY-SA", "dirty_sa": "CC-BY-SA"}
CONFIGURATION = "clean"  # checked by a recognizer, and free of share-alike
NAME = "tps"  # name of its environment: ./hark engines enable tps
HOW_TO_ENABLE = worded("Run ./hark engines enable tps, then the same command again.")
# Time limits of the worker; a slow network may first have to fetch a large file.
START_TIMEOUT_S, ROWS_TIMEOUT_S = 120.0, 900.0


@dataclass(frozen=True)
class SpeechRow:
    """A row of the corpus: ``audio`` is mono float32 [samples] at 16 kHz, None if it could not be decoded."""

    identifier: str
    text: str
    licence: str
    audio: np.ndarray | None


def available() -> Readiness:
    """Return whether its environment exists, in which ``datasets`` was imported. Nothing is imported here."""
    if environments.is_enabled(NAME):
        return Readiness(True)
    return Readiness(
        False, worded("The package datasets is not installed: the environment tps does not exist yet."), HOW_TO_ENABLE
    )


def rows(
    skip: Callable[[str], bool], location: str | Path = REPOSITORY, configuration: str = CONFIGURATION
) -> Iterator[SpeechRow]:
    """Yield rows of the training split in the corpus's order, decoded one at a time.

    Args:
        skip: returns True for identifiers of rows to skip without decoding.
        location: the dataset's name, or a local folder with ``*.parquet`` files (``configuration`` then selects files
            by their path, as in the corpus's own repository; the default one selects all if no path has it).
        configuration: clean, clean_sa, dirty, dirty_sa.

    Raises:
        HarkError: the environment, folder, dataset or network is missing, or a file is damaged.
    """
    available().require("The People's Speech cannot be read.")
    for number, (row, encoded) in enumerate(_stream(location, configuration)):
        identifier = row.get("id") or str(number)
        if skip(identifier):
            continue
        licence = row.get("licence") or row.get("license") or LICENCES.get(configuration, "unknown")
        yield SpeechRow(identifier, row.get("text") or "", licence, _decode(encoded) if encoded else None)


def _stream(location: str | Path, configuration: str) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield each row's columns, and its encoded audio (empty if missing), as the worker reads them."""
    folder = Path(location).expanduser()
    source = {
        "files": _parquet_files(folder.resolve(), configuration) if folder.is_dir() else [],
        "location": str(location),
        "configuration": configuration,
        "cache": str(data_folder() / "cache" / "datasets"),
    }
    command = [str(environments.interpreter(NAME)), "-m", "pipeline.corpora.peoples_speech_worker", json.dumps(source)]
    try:
        worker = WorkerProcess(NAME, command, {}, START_TIMEOUT_S)
        try:
            while True:
                with tempfile.TemporaryDirectory(prefix="hark-rows-") as place:
                    worker.send({"id": "1", "path": place})
                    answer = worker.answer("1", ROWS_TIMEOUT_S)
                    if answer["event"] == "failed":
                        raise WorkerGone(str(answer.get("why")))
                    rows = json.loads((Path(place) / "rows.json").read_text(encoding="utf-8"))
                    if not rows:
                        return
                    for number, row in enumerate(rows):
                        audio = Path(place) / str(number)
                        yield row, audio.read_bytes() if audio.is_file() else b""
        finally:
            worker.kill()
    except WorkerGone as error:
        raise HarkError(
            "The People's Speech could not be read.",
            f"{location}: {error}",
            "Check the network and the dataset's name, or give a folder with its parquet files. "
            "Run the same command again: it continues after the last imported clip.",
        ) from error


def _parquet_files(folder: Path, configuration: str) -> list[str]:
    """Return a configuration's training files, by folder and file name; of the default one, all if none matches."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise HarkError(
            "That folder does not contain the People's Speech.",
            f"{folder} has no .parquet files.",
            "Use the folder of a local copy of the corpus.",
        )
    chosen = [path for path in files if path.parent.name == configuration and path.name.startswith("train")]
    if not chosen and configuration != CONFIGURATION:
        raise HarkError(
            f"That folder does not contain the configuration {configuration}.",
            f"{folder} has no files {configuration}/train*.parquet.",
            "Leave out --configuration to import all of its files, or give another folder.",
        )
    return [str(path) for path in chosen or files]


def _decode(encoded: bytes) -> np.ndarray | None:
    try:
        audio, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError):
        return None
    mono = audio.mean(axis=1, dtype=np.float32)
    if rate != SAMPLE_RATE and len(mono):
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return np.nan_to_num(np.asarray(mono, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
