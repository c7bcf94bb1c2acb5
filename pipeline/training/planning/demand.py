"""The clips that a run wants: of which texts, in which splits, how many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from db.db_api import Library
from db.records import REAL_ENGINES, real_speaker
from model.feature_rows import SPLITS
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.marked import marked_false_alarms
from pipeline.training.planning.splits import VoiceSplits, splits_of_takes
from pipeline.training.recipes import recipe_of

POSITIVE_SHARES = {"train": 0.70, "validation": 0.12, "test": 0.18}  # for a detector that is trained
# For a calibrated detector: number of negatives of each kind for each clip of the phrase in its test.
CALIBRATED_SHARES = {"confusable": 1.0, "inbetween": 0.5, "plain_negative": 1.0}
VALIDATION_POSITIVES = 150  # for a calibrated retraining; they show the cost of anti-keywords


def demand_of(config: RunConfig) -> Demand:
    """Return the clips that a run wants."""
    return TrainingDemand(config) if recipe_of(config).learns else CalibrationDemand(config)


class Demand(ABC):
    """The clips that a run wants.

    Attributes:
        learns: whether a detector is trained on them; it learns from marked false alarms too.
        splits: the splits that need voices and general speech.
        growth_split: the split of clips that only make the library grow.
        slow_clip_s: an engine that needs more seconds per clip gets proportionally fewer clips.
    """

    learns: ClassVar[bool]
    splits: ClassVar[tuple[str, ...]]
    growth_split: ClassVar[str]
    slow_clip_s: ClassVar[float]

    def __init__(self, config: RunConfig) -> None:
        self.config, self.effort, self.recipe = config, EFFORTS[config.effort], recipe_of(config)

    def phrases(self, bucket: str) -> int:
        """Return the wanted number of texts of a bucket."""
        return self.recipe.bucket_size(bucket).phrases

    @abstractmethod
    def splits_by_text(self, bucket: str) -> bool:
        """Return whether each text of a bucket is in one split only."""

    def texts_of_splits(self, bucket: str, texts: Sequence[PhraseText], splits: VoiceSplits) -> dict[str, list[str]]:
        """Return the texts of each split."""
        if not self.splits_by_text(bucket):
            return {split: [text.text for text in texts] for split in SPLITS}
        of_split: dict[str, list[str]] = {split: [] for split in SPLITS}
        for text in texts:
            of_split[splits.split_of(normalize(text.text, self.config.language))].append(text.text)
        if bucket == "plain_negative":  # with few texts, chance may leave none for a split that needs one
            for split in self.splits:
                fullest = max(of_split.values(), key=len)
                if not of_split[split] and len(fullest) > 1:
                    of_split[split].append(fullest.pop())
        return of_split

    @abstractmethod
    def clips(self, bucket: str, texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Return the wanted number of a bucket's clips in each split; ``texts`` are those of each split."""

    @abstractmethod
    def people(self, library: Library) -> dict[str, str]:
        """Return the splits of people that do not depend on a hash of their names."""

    def replaced_by(self, real: int, missing: int, wanted: int) -> int:
        """Return how many of the ``missing`` clips of general speech are not needed beside ``real`` recordings."""
        return 0


class TrainingDemand(Demand):
    """The clips of a run that trains a detector; no confusable is in both training and test."""

    learns = True
    splits = SPLITS
    growth_split = "train"
    slow_clip_s = 0.6  # a slow engine's voices are worth more time

    def splits_by_text(self, bucket: str) -> bool:
        return bucket != "positive"

    def clips(self, bucket: str, texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
        shares = POSITIVE_SHARES if bucket == "positive" else dict.fromkeys(SPLITS, 1.0)
        per_phrase = self.recipe.bucket_size(bucket).clips_per_phrase
        return {split: round(len(texts[split]) * per_phrase * shares[split]) for split in SPLITS}

    def people(self, library: Library) -> dict[str, str]:
        """Return the splits of people: those whose clips were marked as false alarms are in training."""
        phrase, language = self.config.phrase, self.config.language
        marked = marked_false_alarms(library, phrase, language)
        takes = splits_of_takes(library.clips_with_texts([phrase], language))
        return {real_speaker(clip): "train" for clip in marked} | takes

    def replaced_by(self, real: int, missing: int, wanted: int) -> int:
        """Return how many of the ``missing`` clips are not needed.

        Real speech replaces at most half of the synthetic general speech. If all positives were synthetic and all
        general speech real, a detector would learn to distinguish machines from people.
        """
        return min(real, missing, wanted // 2)


class CalibrationDemand(Demand):
    """The clips of a run that only calibrates: those of the phrase and of similar texts test its detector."""

    learns = False
    splits = SPLITS[1:]
    growth_split = "test"
    slow_clip_s = 0.25

    def phrases(self, bucket: str) -> int:
        if bucket == "positive":
            return super().phrases(bucket)
        return int(min(super().phrases(bucket), CALIBRATED_SHARES[bucket] * self.effort.test_clips))

    def splits_by_text(self, bucket: str) -> bool:
        return bucket == "plain_negative"

    def clips(self, bucket: str, texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
        if bucket == "plain_negative":
            per_phrase = self.recipe.bucket_size(bucket).clips_per_phrase
            return {split: per_phrase * len(texts[split]) for split in SPLITS}
        if bucket != "positive":
            return {"train": 0, "validation": 0, "test": len(texts["test"])}
        if self.config.start_from:
            return {"train": 0, "validation": VALIDATION_POSITIVES, "test": self.effort.test_clips}
        validation = round(self.recipe.validation_fraction * self.effort.test_clips)
        return {"train": 0, "validation": validation, "test": self.effort.test_clips - validation}

    def people(self, library: Library) -> dict[str, str]:
        """Return the splits of people: all who say the phrase are in the test.

        A retraining needs some of them for validation.
        """
        phrase = library.clips_with_texts([self.config.phrase], self.config.language)
        real = [clip for clip in phrase if clip.engine in REAL_ENGINES and not self.config.start_from]
        return dict.fromkeys([*splits_of_takes(phrase), *map(real_speaker, real)], "test")
