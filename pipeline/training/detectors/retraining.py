"""Retraining: a better version of a detector, made from the errors that users marked.

A marked miss is a recording of the phrase like any other, which a detector that is trained learns from. A marked false
alarm becomes an *anti-keyword*: its phones are scored as well as those of the phrase, and audio that matches the
anti-keyword better loses score (``model.keyword_hmm.HMMDetector.combined``). So one mark is sufficient, because nothing
has to be learned from a single example. The margin by which an anti-keyword must match better is chosen on the
validation split, so that the phrase itself is rarely lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from model.metrics import phrase_scores
from pipeline.scoring.keyword_scoring import keyword_scores
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, calibrate, threshold_at
from pipeline.training.measuring.comparison import counted, version_before
from pipeline.training.measuring.evaluation import MeasuredDetector
from pipeline.training.measuring.figures import (
    AgainstPrevious,
    AntiKeywordFigures,
    Threshold,
    VersionFigures,
    is_better,
)
from pipeline.training.measuring.marked_errors import Marked, fires, marked_audio, padded
from pipeline.training.measuring.scored_split import score_split
from pipeline.training.recipes.prepared import prepare
from pipeline.training.workspace.run_folder import RunFolder
from pipeline.training.workspace.work import Work

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.keyword_hmm import HMMDetector

MAX_ANTI_KEYWORDS = 12  # those that still fire come first, then the newest; each costs some time at run time
MIN_ANTI_KEYWORD_PHONES = 3  # minimum phones of an anti-keyword
BEFORE_FRAMES = 4  # 20 ms frames that an anti-keyword may begin before the best match of the phrase
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
ALLOWED_LOSS = 0.01  # fraction of the detected utterances of the validation split that anti-keywords may cost


def retraining_of(data: Path, run: str) -> RunConfig:
    """Return the configuration that makes a finished run's detector better. Raises HarkError if that run is gone."""
    # A bundle names its run, and is untrusted.
    folder = RunFolder(data, run)
    config = folder.config() if re.fullmatch(r"\w[\w.-]*", run) else None
    if config is None or not folder.checkpoint.is_file():
        raise HarkError(
            worded("This detector cannot be retrained here."),
            worded("The run %(run)s was not made in this data folder, or no longer exists.", run=run),
            worded("Retrain it where it was made, or train the phrase again."),
        )
    return prepare(replace(config, start_from=run))


@dataclass(frozen=True)
class AntiKeywords:
    """The anti-keywords of the marked false alarms.

    Attributes:
        phones: phones of each anti-keyword, as outputs of the front end.
        margin: match score by which one must exceed the phrase to count.
        marked: number of false alarms that users marked.
        alike: number of marked false alarms that sound exactly like the phrase; no anti-keyword can reject them.
    """

    phones: tuple[tuple[int, ...], ...] = ()
    margin: float = 0.0
    marked: int = 0
    alike: int = 0


@dataclass(frozen=True)
class Retraining:
    """The version that a run improves, and the errors that users marked in it."""

    run: str
    detector: Detector
    thresholds: Sequence[Threshold]
    marked: Marked
    reporter: Reporter

    @classmethod
    def of_run(cls, work: Work) -> Retraining:
        """Return the retraining that a run performs.

        Raises HarkError, before anything is made, if it cannot be performed.
        """
        config = work.config
        detector, manifest = version_before(work.run.data, config.start_from)
        if detector.front_end_id != work.recipe.untrained(1.0).front_end_id:
            raise HarkError(
                worded("This detector cannot be retrained."),
                worded("It is based on a backbone from a different version of Hark."),
                worded("Train the phrase again."),
            )
        marked = marked_audio(work.library, config.phrase, config.language)
        return cls(config.start_from, detector, manifest["thresholds"], marked, work.reporter)

    def with_anti_keywords(self, detector: Detector, store: FeatureStore) -> tuple[Detector, AntiKeywords]:
        """Return the detector with anti-keywords of the marked false alarms, and these; only a keyword HMM has some.

        It is calibrated first, because an anti-keyword's cost is counted in utterances that it detects.
        """
        from model.keyword_hmm import HMMDetector

        if not isinstance(detector, HMMDetector):
            return detector, AntiKeywords()
        self.reporter.stage("calibrate", worded("Making anti-keywords from marked false alarms"))
        calibration = calibrate(detector, store)
        detector, threshold = calibration.detector, threshold_at(calibration.thresholds, DEFAULT_FA_PER_DAY)
        assert isinstance(detector, HMMDetector)
        found = find_anti_keywords(detector, threshold, self.marked.false_alarms, store)
        return detector.with_anti_keywords(found.phones, found.margin), found

    def compared(self, measured: MeasuredDetector, anti_keywords: AntiKeywords) -> AgainstPrevious:
        """Compare both versions, each at its own threshold, on the same test streams and on the marked errors."""

        def figures(detector: Detector, thresholds: Sequence[Threshold]) -> VersionFigures:
            test = score_split(detector, measured.store, "test")
            return counted(detector, test, threshold_at(thresholds, DEFAULT_FA_PER_DAY), self.marked)

        old, new = figures(self.detector, self.thresholds), figures(measured.detector, measured.thresholds)
        return {
            "run": self.run,
            "before": old,
            "after": new,
            "marked": len(self.marked.false_alarms),
            "marked_misses": len(self.marked.misses),
            "better": is_better(new, old),
            "anti_keywords": cast(AntiKeywordFigures, asdict(anti_keywords)),
        }


def find_anti_keywords(
    detector: HMMDetector, threshold: float, marked: Sequence[np.ndarray], store: FeatureStore
) -> AntiKeywords:
    """Return anti-keywords of ``marked`` audio [samples], with the smallest margin that the validation split allows.

    A margin is allowed if the anti-keywords lose at most :data:`ALLOWED_LOSS` of the split's utterances of the phrase
    that reach ``threshold`` without them.
    """
    from model.detector import score_segments

    if not marked:
        return AntiKeywords()
    ways = detector.config.pronunciations
    # Those that no longer fire come last.
    marked = sorted(marked, key=lambda audio: not fires(detector, audio, threshold))
    decoded = [_decode(detector, audio) for audio in marked]
    alike = sum(phones in ways for phones in decoded)
    phones = tuple(dict.fromkeys(p for p in decoded if len(p) >= MIN_ANTI_KEYWORD_PHONES and p not in ways))[
        :MAX_ANTI_KEYWORDS
    ]
    counts = AntiKeywords(marked=len(marked), alike=alike)
    if not phones:
        return counts
    table = store.where(split="validation", label=1).reset_index(drop=True)

    def best_scores(detector: HMMDetector) -> np.ndarray:
        return phrase_scores(score_segments(detector, store, table))

    detected = best_scores(detector) >= threshold
    for margin in MARGINS:
        after = best_scores(detector.with_anti_keywords(phones, margin))
        if (detected & (after < threshold)).sum() <= ALLOWED_LOSS * detected.sum():
            return replace(counts, phones=phones, margin=margin)
    return counts


def _decode(detector: HMMDetector, audio: np.ndarray) -> tuple[int, ...]:
    """Return the phones that the front end recognizes where the phrase fits best."""
    from model.asr.decoding import greedy

    log_p = 2.0 * np.log(np.maximum(detector.encode(padded(audio)), 1e-4))
    best, first, last = -1.0, 0, 0
    for way in detector.config.pronunciations:
        scores, starts = keyword_scores(log_p, way)
        frame = int(scores.argmax())
        if scores[frame] > best:
            best, first, last = float(scores[frame]), int(starts[frame]), frame
    return tuple(greedy(log_p[max(0, first - BEFORE_FRAMES) : last + 1]))
