"""The folders of a run: ``jobs/<run>/``, from which it resumes, and ``models/<run>/`` with its results."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.training.configuration.run_config import RunConfig, configuration_of

NOISE_FOLDER = "noise"  # below the data folder: the user's recordings of noise, for augmentation
FEATURES = "features"  # feature store of a detector, below the folder in which it is made
CHECKPOINT = "model.pt"


class RunFolder:
    """The paths of the run ``name`` below the data folder ``data``."""

    def __init__(self, data: Path, name: str) -> None:
        self.data, self.name = data, name
        self.path = data / "jobs" / name
        self.lock = self.path / "lock"
        self.plan = self.path / "plan.json"
        self.clips = self.path / "clips.csv"  # table of the clips that it uses
        self.features = self.path / FEATURES
        self.devices = self.path / "devices"  # its device detectors while they are made
        self.curves = self.path / "tensorboard"
        self.result = self.path / "result.json"  # of a successful run; written last
        self.results = data / "models" / name
        self.checkpoint = self.results / CHECKPOINT
        self.bundle = self.results / f"{name}.zip"

    @classmethod
    def of(cls, data: Path, config: RunConfig) -> RunFolder:
        """Return the folder of a configuration's unfinished run, or a new one after the last finished one."""
        return cls._numbered(data, config, 1 + len(list(cls.finished(data, config))))

    @classmethod
    def finished(cls, data: Path, config: RunConfig) -> Iterator[RunFolder]:
        """Return the folders of a configuration's finished runs, oldest first."""
        runs = (cls._numbered(data, config, number) for number in itertools.count(1))
        return itertools.takewhile(lambda run: run.result.is_file(), runs)

    @classmethod
    def _numbered(cls, data: Path, config: RunConfig, number: int) -> RunFolder:
        return cls(data, config.run_name if number == 1 else f"{config.run_name}-{number}")

    @classmethod
    def all_in(cls, data: Path) -> list[RunFolder]:
        """Return the folders of all runs and comparisons, by name."""
        return [cls(data, path.name) for path in sorted((data / "jobs").glob("*/"))]

    def config(self) -> RunConfig | None:
        """Return the configuration in the plan; None if it is missing."""
        try:
            return configuration_of(json.loads(self.plan.read_text())["config"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
