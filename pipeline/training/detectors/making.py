"""A detector of any kind, made from a run's clips: features, training, thresholds, measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.events import Progress, Reporter
from core.worded import worded
from model.gpu import complaint
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import NOISE_FOLDER, Recipe, RunConfig
from pipeline.training.measuring.evaluation import Calibrated, MeasuredDetector, calibrated, measure, score_split

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.train import TrainConfig, TrainResult
    from pipeline.training.clips.examples import ExamplePlan
    from pipeline.training.negatives.negative_set import NegativeSegment


def settings_of_run(config: RunConfig, tensorboard: str = "") -> TrainConfig | None:
    """Return the training settings of the run's own detector, with a folder for curves; None if only calibrated."""
    from model.dataset import BatchRecipe
    from model.train import TrainConfig

    effort = EFFORTS[config.effort]
    if config.recipe is Recipe.FROM_NOTHING:
        return TrainConfig(effort.steps, effort.batch_size, seed=config.seed, tensorboard=tensorboard)
    if config.recipe is Recipe.CALIBRATED:
        return None
    steps, recipe = effort.network_steps, BatchRecipe(aligned_negative=0.15)
    return TrainConfig(
        steps, 128, 1e-3, weight_decay=0.3, evaluations=4, recipe=recipe, seed=config.seed, tensorboard=tensorboard
    )


def starting_point(
    config: RunConfig, clips: pd.DataFrame, data: Path, folder: Path, reporter: Reporter, previous: Detector | None
) -> tuple[Any, FeatureStore]:
    """Return the detector that a run begins with, and its features of the clips; made once in ``folder``.

    A retraining begins with the ``previous`` version, but a network that learns the phrase is trained from the start.
    Marked clips are among those that a detector learns from.
    """
    from model.checkpoint import load_checkpoint, save_checkpoint
    from model.dataset import store_is_complete
    from pipeline.training.clips.examples import plan_examples, window_seconds
    from pipeline.training.detectors.untrained import untrained_detector
    from pipeline.training.negatives.negative_speech import BITRATE
    from pipeline.training.negatives.shipped import negatives_of

    start = folder / "start.pt"
    seconds = cache(lambda: window_seconds(clips, config.phrase))  # reading hundreds of clips takes long
    if not (start.is_file() and store_is_complete(folder / "features")):
        folder.mkdir(parents=True, exist_ok=True)
        if previous is not None and config.recipe is not Recipe.NETWORK:
            detector = previous
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
        return plan_examples(config, clips, data / NOISE_FOLDER, need, phrase_s, config.variants, bitrate)

    pieces = negatives_of(config).segments(detector, config.keyphrase, data, reporter)
    return detector, feature_store(detector, examples, pieces, folder, reporter)


def feature_store(
    detector: Detector,
    plan_examples: Callable[[], ExamplePlan],
    negatives: Iterable[NegativeSegment],
    folder: Path,
    reporter: Reporter,
) -> FeatureStore:
    """Return the features of examples and of negative speech for a detector, stored once below ``folder``."""
    from model.dataset import open_store, store_is_complete
    from pipeline.training.clips.examples import build_store

    if store_is_complete(folder / "features"):
        return open_store(folder / "features", detector.config.stored.width)
    folder.mkdir(parents=True, exist_ok=True)
    # First, because this fails at once if another run is preparing the negative speech.
    negatives = list(negatives)
    examples = plan_examples()
    reporter.stage("features", worded("Adding rooms and noise to %(n)d examples", n=len(examples.specs)))
    progress = Progress(reporter, len(examples.specs))
    return build_store(detector, examples, negatives, folder, folder / "features", progress)


def learn(
    detector: Any, store: FeatureStore, settings: TrainConfig, folder: Path, reporter: Reporter
) -> tuple[Any, TrainResult]:
    """Train a detector (:func:`model.train.train`); with the checkpoints in ``folder``, the same call resumes.

    Returns the detector with the best weights, and the result of the training.
    """
    from model.checkpoint import load_checkpoint
    from model.train import TrainProgress, train

    def on_progress(state: TrainProgress) -> None:
        if state.step % 10 == 0 or state.measure is not None or state.step == state.steps:
            reporter.progress(state.step, state.steps, state.eta_s)
            reporter.metric("loss", state.loss)
        if state.measure is not None:
            reporter.metric("validation_miss_rate", state.measure)

    reporter.stage("train", worded("Training for %(n)d steps", n=settings.steps))
    result = train(store, detector, settings, folder, on_progress)
    return load_checkpoint(str(folder / "best.pt"))[0], result


def set_thresholds(detector: Detector, store: FeatureStore, reporter: Reporter) -> Calibrated:
    """Calibrate a detector on the validation split."""
    frames = store.where(split="validation", bucket="plain_negative")["frames"].sum()
    hours = round(float(frames) * detector.config.stored.step / 360_000, 1)
    reporter.stage("calibrate", worded("Calibrating on %(hours)s hours of speech", hours=hours))
    return calibrated(detector, store)


def measure_detector(
    calibration: Calibrated, store: FeatureStore, trained: TrainResult | None, language: str, reporter: Reporter
) -> MeasuredDetector:
    """Measure a detector with its thresholds; ``trained``: result of its training, or None."""
    reporter.stage("report", worded("Measuring on held-out voices"))
    test = score_split(calibration.detector, store, "test")
    results = measure(test, calibration.thresholds, calibration.validation, language)
    return MeasuredDetector(calibration.detector, store, calibration.thresholds, results, trained)
