"""The shipped real speech for a run's kind of detector, for thresholds and false alarms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.events import Reporter
from model.feature_rows import SPLITS
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.negatives.negative_set import NegativeSegment

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
