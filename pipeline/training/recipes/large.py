"""The recipe of a large detector: a keyword HMM on the encoder's phones, and a decoder that scores its matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.events import Reporter
from core.worded import worded
from model.large import encoder_backbone
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.recipes.recipe import Recipe
from pipeline.training.recipes.standard import BACKBONE_DELAY_S

if TYPE_CHECKING:
    from model.large.encoder_detector import EncoderDetector
    from pipeline.training.negatives.shipped import Negatives


class Large(Recipe):
    """A detector whose thresholds are set on the shipped negative set."""

    example_s = 0.13
    validation_fraction = 0.2  # they show how many utterances its minimum threshold loses

    @property
    def making_s(self) -> float:
        return 80.0  # the calibration scores the negative set

    def prepared(self) -> RunConfig:
        encoder_backbone.check_package()
        return self.config

    def untrained(self, window_s: float) -> EncoderDetector:
        from model.large.encoder_detector import EncoderDetector
        from model.phones import outputs_of

        return EncoderDetector.of_phrase(outputs_of(self.config.keyphrase), window_s + BACKBONE_DELAY_S)

    def starting_point(self, window_s: float, reporter: Reporter) -> EncoderDetector:
        from model.large.decoder_tokens import spellings
        from model.large.encoder_detector import EncoderDetector
        from model.large.second_pass import verifier_name
        from model.phones import outputs_of
        from pipeline.training.negatives.negative_set import NEGATIVE_SET, rescoring_threshold

        config = self.config
        reporter.stage("features", worded("Searching real speech for matches of the phrase"))
        above = rescoring_threshold(NEGATIVE_SET, config.keyphrase)
        return EncoderDetector.of_phrase(
            outputs_of(config.keyphrase),
            window_s + BACKBONE_DELAY_S,
            spellings(config.phrase),
            above,
            verifier_name(),
            config.allow_confusables,
        )

    def negatives(self, hours: float | None = None) -> Negatives:
        from pipeline.training.negatives.negative_set import NegativeSet

        return NegativeSet(self.effort.negative_hours if hours is None else hours, self.config.seed)
