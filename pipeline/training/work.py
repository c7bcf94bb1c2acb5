"""The objects that the stages of a run share, and the start of its own detector and of an additional small one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data_folder import atomic_path
from core.events import Reporter
from core.worded import worded
from db.db_api import Library
from pipeline.training.detectors.making import feature_store
from pipeline.training.planning.config import NOISE_FOLDER, Recipe, RunConfig

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from pipeline.training.detectors.retraining import Retraining


class StageClock:
    """Seconds spent in each stage; stored in the job's folder, so that the sum is right after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.seconds = {}  # missing, or truncated by a kill

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 2)
            try:
                with atomic_path(self._path) as temporary:
                    temporary.write_text(json.dumps(self.seconds))
            except OSError:
                pass  # the stage itself reports a full disk, which the clock must not hide


@dataclass(frozen=True)
class Work:
    """The objects that all stages of a run share."""

    config: RunConfig
    data: Path
    folder: Path  # the run's own, from which it resumes
    library: Library
    clock: StageClock
    reporter: Reporter


def detector_and_features(
    work: Work, clips: pd.DataFrame, previous: Retraining | None = None
) -> tuple[Any, FeatureStore]:
    """Return the detector that a run begins with, and its features of the clips; made once in the run's folder.

    A retraining begins with the previous version, but a network that learns the phrase is trained from the start.
    Marked clips are among those that a detector learns from.
    """
    from model.checkpoint import load_checkpoint, save_checkpoint
    from model.dataset import store_is_complete
    from model.gpu import complaint
    from pipeline.training.clips.examples import ExamplePlan, plan_examples, window_seconds
    from pipeline.training.detectors.untrained import untrained_detector
    from pipeline.training.negatives.negative_speech import BITRATE
    from pipeline.training.negatives.shipped import negatives_of

    config, folder, reporter = work.config, work.folder, work.reporter
    start = folder / "start.pt"
    seconds = cache(lambda: window_seconds(clips, config.phrase))  # reads hundreds of clips
    if not (start.is_file() and store_is_complete(folder / "features")):
        folder.mkdir(parents=True, exist_ok=True)
        if previous is not None and config.recipe is not Recipe.NETWORK:
            detector = previous.detector
        else:
            if config.size == "large":
                reporter.stage("features", worded("Searching real speech for matches of the phrase"))
            detector = untrained_detector(config, seconds()[0], rescored=True)
        save_checkpoint(detector, str(start))
        if config.recipe is not Recipe.FROM_NOTHING and complaint():
            reporter.log(complaint(), "warning")
    detector, _ = load_checkpoint(str(start))

    def examples() -> ExamplePlan:
        bitrate = BITRATE if config.recipe is Recipe.NETWORK else 0
        need, phrase_s = detector.config.receptive_samples, seconds()[1]
        return plan_examples(config, clips, work.data / NOISE_FOLDER, need, phrase_s, config.variants, bitrate)

    pieces = negatives_of(config).segments(detector, config.keyphrase, work.data, reporter)
    return detector, feature_store(detector, examples, pieces, folder, reporter)


def foundation(config: RunConfig, detector: Detector) -> dict[str, Any]:
    """Return the shipped weights and speech that the run built on, for the report."""
    from model.encoder_detector import EncoderDetector
    from model.shipped_weights import about_front_end, shipped_micro_network, shipped_verifier
    from pipeline.training.negatives.negative_speech import about_negative_speech
    from pipeline.training.negatives.shipped import negatives_of

    of_devices = {"negative_speech": about_negative_speech()} if config.devices else {}
    if "esphome" in config.devices:
        of_devices["micro_network"] = shipped_micro_network()[1]
    if config.recipe is Recipe.FROM_NOTHING:
        return of_devices
    passes = {"rescored": False, "verified": False}
    if isinstance(detector, EncoderDetector):
        passes = {"rescored": bool(detector.config.spellings), "verified": bool(detector.config.verifier)}
    return {
        "backbone": {**about_front_end(config.size), **passes},
        **({"verifier": shipped_verifier()[1]} if passes["verified"] else {}),
        "negative_set": negatives_of(config).about(),
        **of_devices,
    }
