"""The base class of recipes: all that a run asks about its kind of detector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from pipeline.training.configuration.devices import SMALL
from pipeline.training.configuration.efforts import BUCKETS, EFFORTS, BucketSize
from pipeline.training.configuration.run_config import RunConfig

if TYPE_CHECKING:
    from model.detector import Detector
    from model.train import TrainConfig
    from pipeline.training.negatives.shipped import Negatives


class Recipe(ABC):
    """Makes a run's own detector: knows its start, its clips, its training, and how long these take.

    Attributes:
        computes_features: whether a network computes the features, which a GPU would run faster.
        continues: whether a retraining begins with the detector of the version before.
        teaches: whether detectors for devices can learn from its detector.
        example_s: seconds on two cores for the augmentation and the features of an example.
        validation_fraction: of the clips of the phrase, if the detector is only calibrated.
    """

    computes_features: ClassVar[bool] = True
    continues: ClassVar[bool] = True
    teaches: ClassVar[bool] = False
    example_s: ClassVar[float] = 0.03
    validation_fraction: ClassVar[float] = 0.0

    def __init__(self, config: RunConfig) -> None:
        self.config, self.effort = config, EFFORTS[config.effort]

    @property
    def variants(self) -> int:
        """Augmented versions of each clip that the detector learns from; 0 if only its thresholds are set."""
        return 0

    @property
    def bitrate(self) -> int:
        """Bit/s at which Opus encodes those versions, as it encoded the shipped speech; 0 for no encoding."""
        return 0

    @property
    @abstractmethod
    def making_s(self) -> float:
        """Expected seconds of training and calibration, on two cores."""

    @property
    def trains(self) -> bool:
        """True if the detector is trained; False if only its thresholds are set."""
        return bool(self.variants)

    @property
    def learns(self) -> bool:
        """True if the run trains any detector on its clips: its own, or one for a device."""
        return self.trains or bool(self.config.devices)

    def bucket_size(self, bucket: str) -> BucketSize:
        """Return the number of texts and clips of a bucket that the run wants."""
        return self.effort.small_buckets[BUCKETS.index(bucket)] if self.learns else self.effort.bucket(bucket)

    def prepared(self) -> RunConfig:
        """Return the configuration without what this kind of detector makes superfluous.

        Raises HarkError if the kind cannot be trained here, or an option is for another kind.
        """
        if self.config.allow_confusables:
            raise HarkError(
                worded("%(phrase)s cannot be trained with that option.", phrase=repr(self.config.phrase)),
                worded("Only the threshold of a large detector is raised to reject confusable phrases."),
                worded("Train a large detector, or do not accept confusable phrases."),
            )
        # The run's own detector is the small one.
        return replace(self.config, devices=tuple(name for name in self.config.devices if name != SMALL))

    @abstractmethod
    def untrained(self, window_s: float) -> Detector:
        """Return the detector before its training, for a phrase that fits into ``window_s`` seconds."""

    def starting_point(self, window_s: float, reporter: Reporter) -> Detector:
        """Return the detector that a run begins with: the untrained one, and what a search in real speech adds."""
        return self.untrained(window_s)

    def settings(self, tensorboard: str = "") -> TrainConfig | None:
        """Return the training settings, with a folder for curves; None if the detector is not trained."""
        return None

    @abstractmethod
    def negatives(self, hours: float | None = None) -> Negatives:
        """Return the shipped real speech for the detector.

        Args:
            hours: maximum hours of speech for the thresholds; None for those of the run's effort.
        """
