"""The shipped real speech for a run's kind of detector, for thresholds and false alarms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.events import Reporter
from model.feature_rows import SPLITS
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import Recipe, RunConfig
from pipeline.training.negatives.negative_set import NegativeSegment, NegativeSet
from pipeline.training.negatives.negative_speech import NegativeSpeech

if TYPE_CHECKING:
    from model.detector import Detector


class Negatives(Protocol):
    """Real speech for detectors of one kind."""

    def segments(
        self,
        detector: Detector,
        keyphrase: Keyphrase,
        data: Path,
        reporter: Reporter,
        splits: Collection[str] = SPLITS,
    ) -> Iterator[NegativeSegment]:
        """Yield segments without the phrase, in the format of the detector's feature store.

        They are of the splits "validation" and "test" and, if a part of the detector learns from them, "train".

        Args:
            data: folder where results that take minutes are stored for the next phrase.
            splits: the requested splits.

        Raises:
            HarkError: a file that ships is missing or damaged.
        """

    def about(self) -> dict[str, Any]:
        """Return ``training_corpora``, ``licences`` and ``hours`` by split; {} without shipped speech.

        The hours of "train" are of speakers that the front end was trained on. Raises the errors of :meth:`segments`.
        """


class _Nothing:
    """No speech: a detector that is trained from scratch uses the clips of its run."""

    def segments(self, *_: object, **__: object) -> Iterator[NegativeSegment]:
        return iter(())

    def about(self) -> dict[str, Any]:
        return {}


def negatives_of(config: RunConfig, hours: float | None = None) -> Negatives:
    """Return the real speech for a run's own detector.

    Args:
        hours: maximum hours of speech for the thresholds; None for those of the run's effort.
    """
    effort = EFFORTS[config.effort]
    if config.recipe is Recipe.FROM_NOTHING:
        return _Nothing()
    if config.size == "large":
        return NegativeSet(effort.negative_hours if hours is None else hours, config.seed)
    return NegativeSpeech(effort.speech_hours if hours is None else hours, config.recipe is Recipe.NETWORK)
