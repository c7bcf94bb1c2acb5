"""Streams MLCommons' People's Speech (huggingface.co/datasets/MLCommons/peoples_speech) or a local copy of its format.

The format: parquet files whose rows have ``id``, ``audio`` (a struct of ``bytes``, an encoded file, and ``path``),
``text``, ``duration_ms`` and in some copies ``licence`` or ``license``. Rows are streamed: neither disk nor memory ever
holds more than a part of the corpus.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from audio_generation.engine import Readiness
from core.audio_file import SAMPLE_RATE
from core.data_folder import data_folder
from core.errors import HarkError

REPOSITORY = "MLCommons/peoples_speech"
CORPUS = "peoples-speech"
# What the corpus's page says of its parts; a row's own licence goes first.
LICENCES = {"clean": "CC-BY", "dirty": "CC-BY", "clean_sa": "CC-BY-SA", "dirty_sa": "CC-BY-SA"}
CONFIGURATION = "clean"  # checked by a recognizer, and free of share-alike
HOW_TO_ENABLE = "python -m pip install datasets (in Hark's environment), then run the same command again."


@dataclass(frozen=True)
class SpeechRow:
    """One row of the corpus: ``audio`` is mono float32 [samples] at 16 kHz, None where it could not be decoded."""

    identifier: str
    text: str
    licence: str
    audio: np.ndarray | None


def available() -> Readiness:
    """Whether the ``datasets`` package (and pyarrow under it) is there; nothing is imported or downloaded."""
    missing = [name for name in ("datasets", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        return Readiness(False, f"The package {' and '.join(missing)} is not installed.", HOW_TO_ENABLE)
    return Readiness(True)


def rows(
    skip: Callable[[str], bool],
    location: str | Path = REPOSITORY,
    configuration: str = CONFIGURATION,
    split: str = "train",
) -> Iterator[SpeechRow]:
    """Rows in the corpus's order, decoded one at a time; the caller stops when it has enough.

    Args:
        skip: rows whose identifier it accepts are passed over without being decoded.
        location: the dataset's name, or a local folder with ``*.parquet`` files (``configuration`` and ``split`` then
            choose files by their path where some path has both, as the corpus's own repository is laid out).
        configuration: clean, clean_sa, dirty, dirty_sa.

    Raises:
        HarkError: ``datasets`` is missing, no such folder or dataset, no network, a damaged file.
    """
    readiness = available()
    if not readiness.ok:
        raise HarkError("The People's Speech cannot be read.", readiness.why, readiness.how_to_enable)
    for number, row in enumerate(_stream(location, configuration, split)):
        identifier = str(row.get("id") or number)
        if skip(identifier):
            continue
        licence = row.get("licence") or row.get("license") or LICENCES.get(configuration, "unknown")
        encoded = (row.get("audio") or {}).get("bytes")
        yield SpeechRow(identifier, str(row.get("text") or ""), str(licence), _decode(encoded) if encoded else None)


def _stream(location: str | Path, configuration: str, split: str) -> Iterator[dict[str, Any]]:
    import datasets

    cache = str(data_folder() / "cache" / "datasets")
    folder = Path(location).expanduser()
    try:
        if folder.is_dir():
            files = _parquet_files(folder, configuration, split)
            stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=cache)
        else:
            stream = datasets.load_dataset(str(location), configuration, split=split, streaming=True, cache_dir=cache)
        if isinstance((stream.features or {}).get("audio"), datasets.Audio):
            # The bytes as they are: decoding by datasets needs torchcodec, which needs a matching ffmpeg.
            stream = stream.cast_column("audio", datasets.Audio(decode=False))
        yield from stream
    except HarkError:
        raise
    except Exception as error:  # datasets, fsspec, pyarrow and the HTTP client each raise classes of their own
        raise HarkError(
            "The People's Speech could not be read.",
            f"{location}: {type(error).__name__}: {error}",
            "Check the network and the dataset's name, or give a folder with its parquet files; "
            "what was imported is kept, and the same command goes on from there.",
        ) from error


def _parquet_files(folder: Path, configuration: str, split: str) -> list[str]:
    """The parquet files of a configuration and split, by folder and file name; all where none is named like that."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise HarkError(
            "There is no People's Speech in that folder.",
            f"{folder} holds no .parquet file.",
            "Give the folder of a local copy of the corpus.",
        )
    chosen = [path for path in files if path.parent.name == configuration and path.name.startswith(split)]
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
