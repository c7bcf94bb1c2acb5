"""Measurement of a bundle on a user's recordings: some contain its phrase once, others do not contain it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import HarkError
from core.events import Progress, Reporter, silent_reporter
from model.metrics import Interval, poisson_interval, wilson_interval
from model.runtime.detector import Detector, Trigger
from pipeline.corpora.layouts.utterance import files_below, is_audio
from pipeline.serving.detection import HeardFile, listen


@dataclass(frozen=True)
class Outcome:
    """The misses and false alarms of a detector at one of its thresholds."""

    fa_per_day: float  # false alarms per day for which the threshold was set
    threshold: float
    missed: list[str]  # recordings with the phrase that had no detection
    duplicates: int  # number of additional detections in recordings with the phrase
    alarms: list[tuple[str, float]]  # file and time [s] of each detection without the phrase
    miss_rate: Interval
    fa_per_hour: Interval


@dataclass(frozen=True)
class Evaluation:
    """The result of a measurement. Unreadable recordings are in ``failed`` and not counted elsewhere."""

    positives: int
    negatives: int
    hours: float  # hours without the phrase
    outcomes: list[Outcome]  # by threshold, the lowest first
    failed: list[HeardFile]


def evaluate(detector: Detector, positives: Path | None, negatives: Path | None, reporter: Reporter) -> Evaluation:
    """Measure a detector at each threshold of its bundle's table, and at its usual one.

    Args:
        positives: a folder of recordings, each with the phrase once; None to measure no misses.
        negatives: a folder of recordings of any length without it; None to measure no false alarms.

    Raises HarkError if a folder is missing or has no recordings, or the detector fails.
    """
    with_phrase, without = (_recordings(folder) if folder else [] for folder in (positives, negatives))
    reporter.stage("evaluate", f"Scoring {len(with_phrase) + len(without)} recordings")
    progress = Progress(reporter, len(with_phrase) + len(without))

    def results_of(files: list[Path]) -> Iterator[HeardFile]:
        for file in files:
            yield listen(detector, file, silent_reporter(), keep_scores=True)
            progress.advance()

    utterances, other = list(results_of(with_phrase)), list(results_of(without))
    failed = [file for file in (*utterances, *other) if file.failure is not None]
    utterances = [file for file in utterances if file.failure is None]
    other = [file for file in other if file.failure is None]
    hours = sum(file.seconds for file in other) / 3600
    manifest = detector.bundle.manifest
    thresholds = {float(manifest["default_fa_per_day"]): detector.bundle.threshold()}  # the table may lack that rate
    thresholds |= {float(row["fa_per_day"]): float(row["threshold"]) for row in manifest["thresholds"]}
    rows = sorted(thresholds.items(), reverse=True)
    outcomes = [_outcome(detector, row, utterances, other, hours) for row in rows]
    return Evaluation(len(utterances), len(other), hours, outcomes, failed)


def _recordings(folder: Path) -> list[Path]:
    paths = [path for path in files_below(folder) if is_audio(path)]
    if not paths:
        why = f"{folder} contains no audio file." if folder.is_dir() else f"The folder {folder} does not exist."
        raise HarkError(
            "There are no recordings to measure on.", why, "Choose a folder of recordings (WAV, FLAC, MP3 ...)."
        )
    return paths


def _outcome(
    detector: Detector, row: tuple[float, float], utterances: list[HeardFile], other: list[HeardFile], hours: float
) -> Outcome:
    fa_per_day, threshold = row
    refractory = round(float(detector.bundle.manifest["refractory_s"]) / detector.score_period_s)

    def fired(recording: HeardFile) -> list[float]:
        scores = np.asarray(recording.scores, np.float32)
        return [hit.time_s for hit in Trigger(threshold, refractory).detections(scores, detector.score_period_s)]

    hits = {one.file: len(fired(one)) for one in utterances}
    missed = [file for file, count in hits.items() if not count]
    alarms = [(one.file, time_s) for one in other for time_s in fired(one)]
    return Outcome(
        fa_per_day,
        threshold,
        missed,
        sum(hits.values()) - (len(hits) - len(missed)),
        alarms,
        wilson_interval(len(missed), len(hits)),
        poisson_interval(len(alarms), hours),
    )
