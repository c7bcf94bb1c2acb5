"""A detector of any kind, made from a run's clips: features, training, thresholds, measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast

from core.events import Progress
from core.worded import worded
from model.dataset import FeatureStore, open_store, store_is_complete
from model.gpu import complaint
from pipeline.training.measuring.calibration import calibrate
from pipeline.training.measuring.evaluation import MeasuredDetector, measure
from pipeline.training.measuring.scored_split import score_split
from pipeline.training.workspace.run_folder import NOISE_FOLDER
from pipeline.training.workspace.work import Work

if TYPE_CHECKING:
    import pandas as pd

    from model.detector import Detector
    from model.train import TrainConfig, TrainResult
    from pipeline.training.clips.examples import ExamplePlan
    from pipeline.training.negatives.negative_set import NegativeSegment

Kind = TypeVar("Kind", bound="Detector")


def starting_point(work: Work, clips: pd.DataFrame, previous: Detector | None = None) -> tuple[Detector, FeatureStore]:
    """Return the detector that a run begins with, and its features of the clips; made once in the work's folder.

    Args:
        previous: the version that a retraining improves, with which it begins if the recipe ``continues``.
    """
    from pipeline.training.clips.examples import window_seconds

    lengths = cache(lambda: window_seconds(clips, work.config.phrase))  # reading hundreds of clips takes long
    detector = _starting_detector(work, lengths, previous)
    return detector, _features(work, detector, clips, lengths)


def _starting_detector(work: Work, lengths: Callable[[], tuple[float, float]], previous: Detector | None) -> Detector:
    from model.checkpoint import load_checkpoint, save_checkpoint

    recipe, start = work.recipe, work.folder / "start.pt"
    if not (start.is_file() and store_is_complete(work.features)):
        work.folder.mkdir(parents=True, exist_ok=True)
        if previous is not None and recipe.continues:
            detector = previous
        else:
            detector = recipe.starting_point(lengths()[0], work.reporter)
        save_checkpoint(detector, str(start))
        if recipe.computes_features and complaint():
            work.reporter.log(complaint(), "warning")
    return load_checkpoint(str(start))[0]


def _features(
    work: Work, detector: Detector, clips: pd.DataFrame, lengths: Callable[[], tuple[float, float]]
) -> FeatureStore:
    from pipeline.training.clips.examples import plan_examples

    config, recipe = work.config, work.recipe

    def examples() -> ExamplePlan:
        need, phrase_s, noise = detector.config.receptive_samples, lengths()[1], work.run.data / NOISE_FOLDER
        return plan_examples(config, clips, noise, need, phrase_s, recipe.variants, recipe.bitrate)

    negatives = recipe.negatives().segments(detector, config.keyphrase, work.run.data, work.reporter)
    return feature_store(detector, examples, negatives, work)


def feature_store(
    detector: Detector,
    plan_examples: Callable[[], ExamplePlan],
    negatives: Iterable[NegativeSegment],
    work: Work,
) -> FeatureStore:
    """Return the features of examples and of negative speech for a detector, stored once in the work's folder."""
    from pipeline.training.clips.examples import build_store

    if store_is_complete(work.features):
        return open_store(work.features, detector.config.stored.width)
    work.folder.mkdir(parents=True, exist_ok=True)
    # First, because this fails at once if another run is preparing the negative speech.
    negatives = list(negatives)
    examples = plan_examples()
    work.reporter.stage("features", worded("Adding rooms and noise to %(n)d examples", n=len(examples.specs)))
    progress = Progress(work.reporter, len(examples.specs))
    return build_store(detector, examples, negatives, work.folder, work.features, progress)


def calibrate_and_measure(
    work: Work, detector: Detector, store: FeatureStore, trained: TrainResult | None
) -> MeasuredDetector:
    """Set a detector's thresholds on the validation split, and measure it on the test."""
    with work.clock.stage("calibrate"):
        frames = store.where(split="validation", bucket="plain_negative")["frames"].sum()
        hours = round(float(frames) * detector.config.stored.step / 360_000, 1)
        work.reporter.stage("calibrate", worded("Calibrating on %(hours)s hours of speech", hours=hours))
        calibration = calibrate(detector, store)
    with work.clock.stage("report"):
        work.reporter.stage("report", worded("Measuring on held-out voices"))
        test = score_split(calibration.detector, store, "test")
        results = measure(test, calibration.thresholds, calibration.validation, work.config.language)
    return MeasuredDetector(calibration.detector, store, calibration.thresholds, results, trained)


def learn(
    work: Work, detector: Kind, store: FeatureStore, settings: TrainConfig | None
) -> tuple[Kind, TrainResult | None]:
    """Train a detector (:func:`model.train.train`); if stopped, the same call resumes from the work's folder.

    Returns the detector with the best weights, and the result of the training; without settings, the same detector and
    None.
    """
    from model.checkpoint import load_checkpoint
    from model.detector import TrainedDetector
    from model.train import BEST, TrainProgress, train

    if settings is None:
        return detector, None
    assert isinstance(detector, TrainedDetector)
    reporter = work.reporter

    def on_progress(state: TrainProgress) -> None:
        if state.step % 10 == 0 or state.measure is not None or state.step == state.steps:
            reporter.progress(state.step, state.steps, state.eta_s)
            reporter.metric("loss", state.loss)
        if state.measure is not None:
            reporter.metric("validation_miss_rate", state.measure)

    reporter.stage("train", worded("Training for %(n)d steps", n=settings.steps))
    with work.clock.stage("train"):
        result = train(store, detector, settings, work.folder, on_progress)
    return cast(Kind, load_checkpoint(str(work.folder / BEST))[0]), result
