"""How a run trains a network: with which settings, and what it tells meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.events import Reporter
from pipeline.training.config import EFFORTS, RunConfig

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import TrainedDetector
    from model.train import TrainConfig, TrainResult


def settings_from_nothing(config: RunConfig) -> TrainConfig:
    """For a detector that stands on no backbone."""
    from model.train import TrainConfig

    effort = EFFORTS[config.effort]
    return TrainConfig(effort.steps, effort.batch_size, seed=config.seed)


def settings_of_standard(config: RunConfig) -> TrainConfig:
    """For the network of a detector of size standard."""
    from model.dataset import BatchRecipe
    from model.train import TrainConfig

    steps = EFFORTS[config.effort].network_steps
    recipe = BatchRecipe(aligned_negative=0.15)
    return TrainConfig(steps, 128, 1e-3, weight_decay=0.3, evaluations=4, recipe=recipe, seed=config.seed)


def settings_of_device(device: str, steps: int, seed: int) -> TrainConfig:
    """For a device's detector. Near-phrases are few in a batch: with more, people are missed."""
    from model.dataset import BatchRecipe
    from model.train import TrainConfig

    recipe = BatchRecipe(aligned_negative=0.05)
    size, rate = (128, 1e-3) if device == "openwakeword" else (96, 3e-3)
    return TrainConfig(steps, size, rate, weight_decay=0.3, recipe=recipe, seed=seed)


def train_and_tell(
    store: FeatureStore, detector: TrainedDetector, config: TrainConfig, folder: Path, reporter: Reporter
) -> tuple[Any, TrainResult]:
    """The detector with the best weights of its training (:func:`model.train.train`), and what that gave."""
    from model.checkpoint import load_checkpoint
    from model.train import TrainProgress, train

    def on_progress(state: TrainProgress) -> None:
        if state.step % 10 == 0 or state.measure is not None or state.step == state.steps:
            reporter.progress(state.step, state.steps, state.eta_s)
            reporter.metric("loss", state.loss)
        if state.measure is not None:
            reporter.metric("validation_miss_rate", state.measure)

    result = train(store, detector, config, folder, on_progress)
    return load_checkpoint(str(folder / "best.pt"))[0], result
