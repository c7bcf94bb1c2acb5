"""The recipe without shipped weights: TinyCRNN learns from the run's clips alone, in any language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.errors import HarkError
from core.worded import worded
from pipeline.training.configuration.efforts import BucketSize
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from model.tiny_crnn import TinyCRNN
    from model.train import TrainConfig
    from pipeline.training.negatives.negative_set import NegativeSegment
    from pipeline.training.negatives.shipped import Negatives

STEP_S = 0.35  # seconds of a training step with a batch of 128, on two cores


class FromNothing(Recipe):
    """A detector that is trained on the clips of the run."""

    computes_features = False

    @property
    def variants(self) -> int:
        return self.effort.variants

    @property
    def making_s(self) -> float:
        return self.effort.steps * STEP_S * self.effort.batch_size / 128

    def bucket_size(self, bucket: str) -> BucketSize:
        return self.effort.bucket(bucket)

    def prepared(self) -> RunConfig:
        if self.config.size == "large":
            raise HarkError(
                worded("%(phrase)s cannot have a large detector.", phrase=repr(self.config.phrase)),
                worded("Its encoder supports English only and cannot be trained from scratch."),
                worded("Choose the size standard."),
            )
        return super().prepared()

    def untrained(self, window_s: float) -> TinyCRNN:
        import torch

        from model.tiny_crnn import TinyCRNN, TinyCRNNConfig

        torch.manual_seed(self.config.seed)
        return TinyCRNN(TinyCRNNConfig.for_window(window_s))

    def settings(self, tensorboard: str = "") -> TrainConfig:
        from model.train import TrainConfig

        effort = self.effort
        return TrainConfig(effort.steps, effort.batch_size, seed=self.config.seed, tensorboard=tensorboard)

    def negatives(self, hours: float | None = None) -> Negatives:
        return _Nothing()


class _Nothing:
    """No speech beside the clips of the run."""

    def segments(self, *_: object, **__: object) -> Iterator[NegativeSegment]:
        return iter(())

    def about(self) -> dict[str, Any]:
        return {}
