"""How a detector of any kind is made of a run's clips: it hears them, learns, gets its thresholds and is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.events import Progress, Reporter
from core.worded import worded
from model.runtime.detector import logit
from pipeline.training.config import EFFORTS, Recipe, RunConfig
from pipeline.training.evaluation import DEFAULT_FA_PER_DAY, ScoredSplit, calibrate, measure, score_split, threshold_at

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.train import TrainConfig, TrainResult
    from pipeline.training.examples import ExamplePlan
    from pipeline.training.negative_set import NegativePiece

MOST_LOST = 0.1  # of the phrase, that a floor against near-phrases may cost


@dataclass(frozen=True)
class Made:
    """A detector, and what is known of it.

    Attributes:
        thresholds: a row for each rate of false alarms (:func:`pipeline.training.evaluation.calibrate`).
        results: of the test (:func:`pipeline.training.evaluation.measure`).
        trained: what its training gave; None where it learned nothing.
    """

    detector: Any
    store: FeatureStore
    thresholds: list[dict[str, Any]]
    results: dict[str, Any]
    trained: TrainResult | None


def settings_of_run(config: RunConfig) -> TrainConfig | None:
    """How the run's own detector is trained; None where it is only calibrated."""
    from model.dataset import BatchRecipe
    from model.train import TrainConfig

    effort = EFFORTS[config.effort]
    if config.recipe is Recipe.FROM_NOTHING:
        return TrainConfig(effort.steps, effort.batch_size, seed=config.seed)
    if config.recipe is Recipe.CALIBRATED:
        return None
    steps, recipe = effort.network_steps, BatchRecipe(aligned_negative=0.15)
    return TrainConfig(steps, 128, 1e-3, weight_decay=0.3, evaluations=4, recipe=recipe, seed=config.seed)


def settings_of_device(device: str, steps: int, seed: int) -> TrainConfig:
    """How a device's detector is trained. Near-phrases are few in a batch: with more, people are missed."""
    from model.dataset import BatchRecipe
    from model.train import TrainConfig

    recipe = BatchRecipe(aligned_negative=0.05)
    size, rate = (128, 1e-3) if device == "openwakeword" else (96, 3e-3)
    return TrainConfig(steps, size, rate, weight_decay=0.3, recipe=recipe, seed=seed)


def hear(
    detector: Any,
    plan_examples: Callable[[], ExamplePlan],
    negatives: Iterable[NegativePiece],
    folder: Path,
    reporter: Reporter,
) -> FeatureStore:
    """What a detector hears of examples and of negative speech, stored once below ``folder``."""
    from model.dataset import open_store, store_is_complete
    from pipeline.training.examples import build_store

    if store_is_complete(folder / "features"):
        return open_store(folder / "features", detector.config.stored.width)
    folder.mkdir(parents=True, exist_ok=True)
    examples = plan_examples()
    reporter.stage("features", worded("Adding rooms and noise to %(n)d examples", n=len(examples.specs)))
    progress = Progress(reporter, len(examples.specs))
    return build_store(detector, examples, negatives, folder, folder / "features", progress, reporter)


def learn(
    detector: Any, store: FeatureStore, settings: TrainConfig, folder: Path, reporter: Reporter
) -> tuple[Any, TrainResult]:
    """Train a detector (:func:`model.train.train`): the one with the best weights, and what the training gave. With the
    checkpoints in ``folder``, the same call goes on."""
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


def calibrated(detector: Any, store: FeatureStore) -> tuple[Any, list[dict[str, Any]], ScoredSplit]:
    """The detector, its thresholds, and the validation split that they come from.

    A keyphrase HMM is moved so that its default threshold is 0.5: the phrase is followed through the split once, and
    the line from match score to logit is set afterwards. No default threshold lies below the match score
    ``detector.least``, however rare false alarms are there, unless that costs more than :data:`MOST_LOST` of what is
    said close and quiet.
    """
    from model.detector import as_streams, in_batches
    from model.keyword_hmm import HMMDetector
    from model.metrics import phrase_scores

    if not isinstance(detector, HMMDetector):
        validation = score_split(detector, store, "validation")
        return detector, calibrate(validation), validation
    table = store.where(split="validation").reset_index(drop=True)
    stored = detector.config.stored
    pieces = [store.features(row) for row in table.itertuples()]
    matches = in_batches(detector.matches, pieces, stored, detector.batch_frames)

    def scored(level: float, least: float) -> tuple[HMMDetector, list[dict[str, Any]], ScoredSplit]:
        centred = detector.centred(level)
        scores = (centred.score(match) for match in matches)
        validation = ScoredSplit(table, as_streams(centred, scores, table))
        return centred, calibrate(validation, least=least), validation

    def match(score: float) -> float:
        return float(detector.level + logit(score) / detector.slope)

    _, thresholds, validation = scored(detector.level, 0.0)
    level, floor = match(threshold_at(thresholds, DEFAULT_FA_PER_DAY)), detector.least
    quiet = validation.pick(validation.headline & (table["condition"] == "clean").to_numpy())
    if quiet:
        floor = min(floor, match(float(np.quantile(phrase_scores(quiet), MOST_LOST))))
    return scored(floor, 0.5) if level < floor else scored(level, 0.0)


def make(
    detector: Any,
    store: FeatureStore,
    settings: TrainConfig | None,
    folder: Path,
    language: str,
    reporter: Reporter,
    finish: Callable[[Any], Any] | None = None,
    stage: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> Made:
    """Train a detector where it learns, set its thresholds and measure it.

    Args:
        settings: of the training; None: it is only calibrated.
        folder: for checkpoints.
        finish: changes the detector after its training, before its thresholds are set.
        stage: counts the seconds of "train", "calibrate" and "report".
    """
    trained = None
    if settings is not None:
        with stage("train"):
            detector, trained = learn(detector, store, settings, folder, reporter)
    with stage("calibrate"):
        frames = store.where(split="validation", bucket="plain_negative")["frames"].sum()
        hours = round(float(frames) * detector.config.stored.step / 360_000, 1)
        reporter.stage("calibrate", worded("Calibrating on %(hours)s hours of speech", hours=hours))
        detector, thresholds, validation = calibrated(finish(detector) if finish else detector, store)
    with stage("report"):
        reporter.stage("report", worded("Measuring on voices that were held out"))
        results = measure(score_split(detector, store, "test"), thresholds, validation, language)
    return Made(detector, store, thresholds, results, trained)
