"""The teacher of detectors for devices: a detector of size *standard*.

It scores the audio that they are trained on, and they learn its scores instead of the labels of clips (knowledge
distillation, Hinton and others 2015). It was trained on real speech, so it teaches them how similar any speech is to
the phrase; from labels, they would learn the voices of the engines.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.training.detectors.making import feature_store, learn
from pipeline.training.recipes import recipe_of
from pipeline.training.workspace.work import Work

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.features import StoredFrames
    from model.standard.fused_detector import FusedDetector
    from pipeline.training.clips.examples import ExamplePlan

LEVEL = -2.5  # match score that becomes a logit of 0
SLOPE = 3.0  # logits per unit of match score
BOUND = 8.0  # maximum absolute logit
SAME = ["clip_id", "bucket", "condition", "engine", "speaker"]  # columns in which both stores agree


class Teacher:
    """A detector of size standard, and its features of the examples for devices.

    Attributes:
        examples: the examples that the device detectors and the teacher share.
    """

    def __init__(self, detector: FusedDetector, store: FeatureStore, examples: ExamplePlan) -> None:
        """Prepare the teacher; ``store`` holds its frames of the examples, at least of the split ``train``."""
        self._detector, self._store, self.examples = detector, store, examples

    @cached_property
    def _matches(self) -> list[np.ndarray]:
        """Return match scores of each training example."""
        from model.detector import in_batches

        rows = self._store.where(split="train")
        pieces = [self._store.features(row) for row in rows.itertuples()]
        detector = self._detector
        return in_batches(detector.matches, pieces, detector.config.stored, detector.batch_frames)

    def soft_logits(self, store: FeatureStore, stored: StoredFrames) -> np.ndarray:
        """Return logits [total] for the frames of a device's store of the same examples.

        Each is the score of the audio that ends with its frame; NaN if that is too short, and outside ``train``.
        """
        rows: Any = store.where(split="train")
        if self._store.where(split="train")[SAME].to_numpy().tolist() != rows[SAME].to_numpy().tolist():
            raise ValueError("teacher and student have different examples")
        soft_logits = np.full(len(store.frames), np.nan, np.float16)
        own = self._detector.config.stored
        for row, matches in zip(rows.itertuples(), self._matches):
            # Log-mel frames of the example that are complete at each score, and at each frame of the device's store.
            first = own.lead + own.step * (own.window - own.at_once)
            scored = first + own.step * own.chunk * np.arange(len(matches))
            ends = stored.lead + stored.step * (np.arange(1, row.frames + 1) - stored.at_once)
            if len(matches):
                logits = np.clip(SLOPE * (np.interp(ends, scored, matches) - LEVEL), -BOUND, BOUND)
                soft_logits[row.first : row.first + row.frames] = np.where(ends < first, np.nan, logits)
        return soft_logits


def make_teacher(detector: Detector | None, work: Work, clips: pd.DataFrame) -> Teacher | None:
    """Return the run's detector of size standard; otherwise train one, or resume its training.

    It is None if a detector of that size does not teach.

    Args:
        detector: the run's detector, trained and calibrated.
        work: objects of the run, with the teacher's folder.
        clips: clips of the run (:data:`pipeline.training.clips.examples.CLIP_COLUMNS`).
    """
    from model.standard.fused_detector import FusedDetector
    from pipeline.training.clips.examples import device_examples, window_seconds
    from pipeline.training.detectors.device_kinds import device_samples
    from pipeline.training.negatives.negative_speech import device_negatives

    config, data = work.config, work.run.data
    recipe = recipe_of(config.as_standard)
    if not recipe.teaches:
        return None
    is_trained = isinstance(detector, FusedDetector)
    splits = ("train",) if is_trained else ("train", "validation")
    if not is_trained:
        detector = recipe.untrained(window_seconds(clips, config.phrase)[0])
    assert isinstance(detector, FusedDetector)
    examples = device_examples(config, clips, data, max(device_samples(), detector.config.receptive_samples))
    own = replace(examples, specs=tuple(s for s in examples.specs if s.columns["split"] in splits))
    negatives = device_negatives(detector, config.keyphrase, device_samples(), data, work.reporter, splits=splits)
    store = feature_store(detector, lambda: own, negatives, work)
    if not is_trained:
        detector, _ = learn(work, detector, store, recipe.settings())
    return Teacher(detector, store, examples)
