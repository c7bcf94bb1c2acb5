"""The folders of a run: ``jobs/<run>/``, from which it resumes, and ``models/<run>/`` with its results."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.training.configuration.run_config import RunConfig

NOISE_FOLDER = "noise"  # below the data folder: recordings of noise that a user puts there are used for augmentation
# In a run's folder below jobs/:
PLAN = "plan.json"
CLIPS = "clips.csv"  # clips that the run uses
DEVICES_FOLDER = "devices"  # its device detectors while they are made
RESULT = "result.json"  # of a successful run; written last
# In a run's folder below models/:
CHECKPOINT = "model.pt"


def job_folder(data: Path, config: RunConfig) -> Path:
    """Return the folder of the run: that of the unfinished one, or a new one after the last finished one."""
    number = 1 + len(list(finished_folders(data, config)))
    return _numbered(data, config, number)


def finished_folders(data: Path, config: RunConfig) -> Iterator[Path]:
    """Return the folders of a configuration's finished runs, oldest first."""
    folders = (_numbered(data, config, number) for number in itertools.count(1))
    return itertools.takewhile(lambda folder: (folder / RESULT).is_file(), folders)


def _numbered(data: Path, config: RunConfig, number: int) -> Path:
    return data / "jobs" / (config.run_name if number == 1 else f"{config.run_name}-{number}")


def config_of_run(folder: Path) -> RunConfig | None:
    """Return the configuration of a job folder's run; None if it is missing."""
    try:
        return configuration_of(json.loads((folder / PLAN).read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def configuration_of(values: dict[str, Any]) -> RunConfig:
    return RunConfig(**{**values, "engines": tuple(values["engines"]), "devices": tuple(values["devices"])})


def checkpoint_of(data: Path, run: str) -> Path:
    """Return the checkpoint of a finished run."""
    return data / "models" / run / CHECKPOINT


def bundle_of(data: Path, run: str) -> Path:
    """Return the bundle of a finished run."""
    return data / "models" / run / f"{run}.zip"
