"""A better version of a detector, from what people said it got wrong.

A miss that was marked is a recording of the phrase like any other, which a TinyCRNN learns from. A false alarm that
was marked becomes a *anti-keyword*: the phones that were heard in it are followed beside those of the phrase, and what
sounds more like the anti-keyword than like the phrase loses score (``model.keyword_hmm.HMMDetector.combined``). So one
mark is enough, and nothing has to be learned from a single example. How much better an anti-keyword must be heard is
chosen on the validation split, so that the phrase itself is hardly ever lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from db.db_api import Library
from db.records import Clip
from pipeline.training.measuring.evaluation import (
    DEFAULT_FA_PER_DAY,
    Made,
    ScoredSplit,
    at_threshold,
    calibrated,
    score_split,
    threshold_at,
)

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import Detector
    from model.keyword_hmm import HMMDetector

CORPUS = "inbox"  # of the source of marked clips
FALSE_ALARM_OF = "false_alarm_of"  # setting of a clip: the phrase that a detector took it for
MOST_ANTI_KEYWORDS = 12  # the newest ones; each costs a little at run time
SHORTEST_ANTI_KEYWORD = 3  # phones
BEFORE_FRAMES = 4  # of 20 ms, before the stretch that was taken for the phrase; what comes after it comes too late
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
ALLOWED_LOSS = 0.01  # share of the validation split's utterances that are heard, and may be lost to anti-keywords
PADDING_S = (1.5, 0.5)  # of near-silence before and after a marked clip


@dataclass(frozen=True)
class AntiKeywords:
    """What was made of the marked false alarms.

    Attributes:
        phones: of each anti-keyword, as outputs of the front end.
        margin: match score by which one must be heard better than the phrase to count.
        marked: false alarms that people marked.
        alike: those of them that sound exactly like the phrase, so that nothing can be done.
    """

    phones: tuple[tuple[int, ...], ...] = ()
    margin: float = 0.0
    marked: int = 0
    alike: int = 0


@dataclass(frozen=True)
class Marked:
    """What people said a detector got wrong, as audio [samples]: what it took for the phrase, and what it missed."""

    false_alarms: Sequence[np.ndarray] = ()
    misses: Sequence[np.ndarray] = ()


@dataclass
class Retraining:
    """The version that a run makes better, what people marked in it, and what was made of their marks."""

    run: str
    detector: Detector
    thresholds: Sequence[dict[str, Any]]
    marked: Marked
    reporter: Reporter
    anti_keywords: AntiKeywords = field(default_factory=AntiKeywords)

    def with_anti_keywords(self, detector: Any, store: FeatureStore) -> Any:
        """The detector with anti-keywords of what was marked; as it is where it is no keyphrase HMM. It is calibrated
        for them: that says which of the phrase it hears, and so what they cost."""
        from model.keyword_hmm import HMMDetector

        if not isinstance(detector, HMMDetector):
            return detector
        detector, thresholds, _ = calibrated(detector, store)
        self.reporter.stage("calibrate", worded("Making anti-keywords from marked false alarms"))
        threshold = threshold_at(thresholds, DEFAULT_FA_PER_DAY)
        self.anti_keywords = found = find_anti_keywords(detector, threshold, self.marked.false_alarms, store)
        return detector.with_anti_keywords(found.phones, found.margin)

    def compared(self, made: Made) -> dict[str, Any]:
        """Both versions on the same test streams, each at its own threshold, and on what was marked; ``better``: see
        :func:`is_better`."""
        old, new = (
            counted(detector, score_split(detector, made.store, "test"), threshold_at(thresholds, DEFAULT_FA_PER_DAY),
                    self.marked)
            for detector, thresholds in ((self.detector, self.thresholds), (made.detector, made.thresholds))
        )  # fmt: skip
        return {
            "run": self.run,
            "before": old,
            "after": new,
            "marked": len(self.marked.false_alarms),
            "marked_misses": len(self.marked.misses),
            "better": is_better(new, old),
            "anti_keywords": asdict(self.anti_keywords),
        }


def version_before(data: Path, run: str) -> tuple[Detector, dict[str, Any]]:
    """The detector of a finished run and its bundle's manifest. Raises HarkError where it is gone or damaged."""
    from model.checkpoint import load_checkpoint

    path = data / "models" / run / "model.pt"
    why = worded("%(name)s of the run %(run)s is missing.", name=path.name, run=run)
    if path.is_file():
        detector, about = load_checkpoint(str(path))
        if isinstance(about.get("manifest"), dict):
            return detector, about["manifest"]
        why = worded("%(name)s of the run %(run)s is damaged.", name=path.name, run=run)
    raise HarkError(worded("There is nothing to start from."), why, worded("Train the phrase again."))


def marked_false_alarms(library: Library, phrase: str) -> list[Clip]:
    """The clips that people marked as false alarms of a phrase, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if clip.state == "ready"]
    return [clip for clip in reversed(clips) if clip.settings.get(FALSE_ALARM_OF) == phrase]


def marked_misses(library: Library, phrase: str, language: str) -> list[Clip]:
    """The clips that people marked as the phrase, missed, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if clip.state == "ready" and "role" in clip.settings]
    return [clip for clip in reversed(clips) if (clip.text_normalized, clip.language) == (phrase, language)]


def marked_audio(library: Library, phrase: str, language: str) -> Marked:
    """Everything that was marked of a phrase."""
    return Marked(
        [library.read_audio(clip) for clip in marked_false_alarms(library, phrase)],
        [library.read_audio(clip) for clip in marked_misses(library, phrase, language)],
    )


def find_anti_keywords(
    detector: HMMDetector, threshold: float, marked: Sequence[np.ndarray], store: FeatureStore
) -> AntiKeywords:
    """Anti-keywords of marked audio [samples], with the smallest margin at which the phrase is not lost to them in the
    validation split. ``threshold`` is the one from which on an utterance counts as heard.
    """
    table = store.where(split="validation", label=1).reset_index(drop=True)
    return anti_keywords_of(detector, threshold, marked, lambda with_them: _best_scores(with_them, store, table))


def anti_keywords_of(
    detector: HMMDetector,
    threshold: float,
    marked: Sequence[np.ndarray],
    best_scores: Callable[[HMMDetector], np.ndarray],
) -> AntiKeywords:
    """The same, with ``best_scores`` [utterances], which a detector gives the utterances that may not be lost."""
    if not marked:
        return AntiKeywords()
    ways = detector.config.pronunciations
    marked = sorted(marked, key=lambda audio: not _fires(detector, audio, threshold))  # near-misses only after those
    as_heard = [_as_heard(detector, audio) for audio in marked]
    alike = sum(phones in ways for phones in as_heard)
    phones = tuple(dict.fromkeys(p for p in as_heard if len(p) >= SHORTEST_ANTI_KEYWORD and p not in ways))[
        :MOST_ANTI_KEYWORDS
    ]
    told = AntiKeywords(marked=len(marked), alike=alike)
    if not phones:
        return told
    heard_before = best_scores(detector) >= threshold
    for margin in MARGINS:
        after = best_scores(detector.with_anti_keywords(phones, margin))
        if (heard_before & (after < threshold)).sum() <= ALLOWED_LOSS * heard_before.sum():
            return replace(told, phones=phones, margin=margin)
    return told


def _as_heard(detector: HMMDetector, audio: np.ndarray) -> tuple[int, ...]:
    """The phones that are heard where the phrase fits best."""
    from model.asr.decoding import greedy
    from pipeline.training.scoring.keyword_scoring import keyword_scores

    log_p = 2.0 * np.log(np.maximum(detector.hear(_padded(audio)), 1e-4))
    best, first, last = -1.0, 0, 0
    for way in detector.config.pronunciations:
        scores, starts = keyword_scores(log_p, way)
        frame = int(scores.argmax())
        if scores[frame] > best:
            best, first, last = float(scores[frame]), int(starts[frame]), frame
    return tuple(greedy(log_p[max(0, first - BEFORE_FRAMES) : last + 1]))


def _padded(audio: np.ndarray) -> np.ndarray:
    before, after = (round(seconds * SAMPLE_RATE) for seconds in PADDING_S)
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(before + len(audio) + after)
    quiet[before : before + len(audio)] += audio
    return quiet.astype(np.float32)


def _best_scores(detector: HMMDetector, store: FeatureStore, table: Any) -> np.ndarray:
    from model.detector import score_segments
    from model.metrics import phrase_scores

    return phrase_scores(score_segments(detector, store, table))


def is_better(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a version is better than another, by what :func:`counted` says of them on the same streams.

    It misses at most one test recording more, gives at most one false alarm more, fires on no more of the marked false
    alarms, misses no more of the marked misses, and in one of these it is better.
    """
    allowed = {"missed": 1, "false_alarms": 1, "marked_fired": 0, "marked_missed": 0}
    worse = any(new[name] > old[name] + more for name, more in allowed.items())
    return not worse and any(new[name] < old[name] for name in allowed)


def counted(detector: Detector, test: ScoredSplit, threshold: float, marked: Marked) -> dict[str, Any]:
    """What a version did on a test, which it has scored, and on what was marked.

    An utterance is in the test in several renderings (quiet, in noise): ``missed`` counts these.
    """
    from model import metrics

    said = metrics.phrase_scores(test.pick(test.positive))
    return {
        **at_threshold(test, threshold),
        "utterances": test.utterances(test.positive),
        "renderings": len(said),
        "missed": int((said < threshold).sum()),
        "hours": sum(stream.hours for stream in test.pick(test.ordinary)),
        "marked_fired": sum(_fires(detector, audio, threshold) for audio in marked.false_alarms),
        "marked_missed": sum(not _fires(detector, audio, threshold) for audio in marked.misses),
    }


def _fires(detector: Detector, audio: np.ndarray, threshold: float) -> bool:
    from model.runtime.detector import smooth_scores

    return bool((smooth_scores(detector.stream_scores(_padded(audio))) >= threshold).any())
