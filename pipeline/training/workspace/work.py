"""The objects that the stages of a run share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.data_folder import atomic_path
from core.events import Reporter
from db.db_api import Library
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.recipes import recipe_of
from pipeline.training.recipes.recipe import Recipe
from pipeline.training.workspace.run_folder import FEATURES, RunFolder


class StageClock:
    """Seconds spent in each stage; stored in the job's folder, so that the sum is right after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.seconds = {}  # missing, or truncated by a kill
        self._in_stage = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage. One within another counts as part of it."""
        if self._in_stage:
            yield
            return
        started, self._in_stage = time.monotonic(), True
        try:
            yield
        finally:
            self._in_stage = False
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 2)
            try:
                with atomic_path(self._path) as temporary:
                    temporary.write_text(json.dumps(self.seconds))
            except OSError:
                pass  # the stage reports a full disk itself, and this must not hide its error


@dataclass(frozen=True)
class Work:
    """The objects that all stages of a run share."""

    config: RunConfig
    run: RunFolder
    folder: Path  # the state of one detector's making, which resumes there: the run's folder, or one inside it
    library: Library
    clock: StageClock
    reporter: Reporter

    @property
    def recipe(self) -> Recipe:
        """The recipe of the detector that is made."""
        return recipe_of(self.config)

    @property
    def features(self) -> Path:
        """The feature store of the folder's detector."""
        return self.folder / FEATURES
