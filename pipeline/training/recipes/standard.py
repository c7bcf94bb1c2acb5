"""The recipes of standard detectors: a keyword HMM on the shipped backbone, alone or with a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.training.configuration.efforts import VARIANTS
from pipeline.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from model.standard.backbone_detector import BackboneDetector
    from model.standard.fused_detector import FusedDetector
    from model.train import TrainConfig
    from pipeline.training.negatives.shipped import Negatives

BACKBONE_DELAY_S = 0.12  # a causal backbone outputs a phone this much later
CALIBRATION_S = 30.0
NETWORK_STEP_S = 0.06  # seconds of a step of the network's training, on two cores


class Calibrated(Recipe):
    """A detector whose thresholds are set on the shipped negative speech."""

    @property
    def making_s(self) -> float:
        return CALIBRATION_S

    def untrained(self, window_s: float) -> BackboneDetector:
        from model.phones import outputs_of
        from model.standard.backbone import shipped_backbone
        from model.standard.backbone_detector import BackboneDetector

        phones = outputs_of(self.config.keyphrase)
        return BackboneDetector.of_phrase(shipped_backbone()[0], phones, window_s + BACKBONE_DELAY_S)

    def negatives(self, hours: float | None = None) -> Negatives:
        from pipeline.training.negatives.negative_speech import NegativeSpeech

        return NegativeSpeech(self.effort.speech_hours if hours is None else hours, self.trains)


class Network(Calibrated):
    """A calibrated detector with a network that learns the phrase, in each version from the beginning."""

    continues = False
    teaches = True

    @property
    def variants(self) -> int:
        return VARIANTS

    @property
    def bitrate(self) -> int:
        from model.examples import BITRATE

        return BITRATE

    @property
    def making_s(self) -> float:
        return CALIBRATION_S + NETWORK_STEP_S * self.effort.network_steps

    def untrained(self, window_s: float) -> FusedDetector:
        import torch

        from model.phones import outputs_of
        from model.standard.backbone import shipped_backbone
        from model.standard.fused_detector import FusedDetector

        torch.manual_seed(self.config.seed)
        phones = outputs_of(self.config.keyphrase)
        return FusedDetector.of_phrase(shipped_backbone()[0], phones, window_s + BACKBONE_DELAY_S)

    def settings(self, tensorboard: str = "") -> TrainConfig:
        from model.dataset import BatchRecipe
        from model.train import TrainConfig

        return TrainConfig(
            self.effort.network_steps,
            batch_size=128,
            learning_rate=1e-3,
            weight_decay=0.3,
            evaluations=4,
            recipe=BatchRecipe(aligned_negative=0.15),
            seed=self.config.seed,
            tensorboard=tensorboard,
        )
