"""Detection in recordings of any length and format with a bundle, in constant memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE, SILENCE_PEAK
from core.confinement.foreign_audio import foreign_audio_blocks
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from model.runtime.detector import BundleError, Detection, Detector
from pipeline.recordings.files.media import probe

PROGRESS_FROM_S = 120.0  # seconds; shorter recordings end before users could read their progress


@dataclass
class HeardFile:
    """The result of a detector on one recording."""

    file: str  # path as given
    seconds: float = 0.0  # seconds of readable audio
    detections: list[Detection] = field(default_factory=list)  # in order of time
    scores: list[float] = field(default_factory=list)  # one per 80 ms, if requested
    silent: bool = True  # whether the peak is below -60 dBFS
    failure: HarkError | None = None  # the error that ended reading early; ``seconds`` counts the audio before it


def as_hark_error(error: BundleError) -> HarkError:
    """Return the error for users. The runtime has its own type, because bundles ship without the rest of Hark."""
    return HarkError(error.what, error.why, error.what_to_do)


def open_detector(
    bundle: Path, fa_per_day: float | None = None, threshold: float | None = None, int8: bool = False
) -> Detector:
    """Load the detector of a bundle (zip or folder), checking its files.

    Raises HarkError if the bundle is missing or damaged or has a different schema, or if the false-alarm rate is
    invalid.
    """
    try:
        return Detector(bundle, fa_per_day=fa_per_day, threshold=threshold, int8=int8)
    except BundleError as error:
        raise as_hark_error(error) from error
    except Exception as error:
        # A damaged bundle may fail anywhere: in its numbers, in the zip's own records, or in onnxruntime, whose
        # exceptions have no common base class.
        logging.getLogger(__name__).warning("opening %s failed", bundle, exc_info=True)
        raise HarkError(
            worded("%(bundle)s is damaged.", bundle=str(bundle)),
            f"{type(error).__name__}: {str(error)[:300].rstrip('.')}.",
            worded("Download the bundle again."),
        ) from error


def listen(detector: Detector, file: Path | str, reporter: Reporter, keep_scores: bool = False) -> HeardFile:
    """Return the detections in one recording; if it cannot be read to its end, those before, and the ``failure``.

    Raises HarkError if the detector itself failed, or took too much time or memory.
    """
    result = HeardFile(str(file))
    try:
        for scores in detector.score_recording(_watched(Path(file), result, reporter)):
            result.detections += detector.detections(scores)
            if keep_scores:
                result.scores += scores.tolist()
    except HarkError as error:
        result.failure = error
    except BundleError as error:
        raise as_hark_error(error) from error
    return result


def _watched(file: Path, result: HeardFile, reporter: Reporter) -> Iterator[np.ndarray]:
    """Yield the blocks of a recording; add them to ``result`` and report the progress of a long one."""
    total = _expected_seconds(file)
    started = time.monotonic()
    if total >= PROGRESS_FROM_S:
        reporter.stage("detect", f"Processing {file.name}")
    for block in foreign_audio_blocks(file):
        result.seconds += len(block) / SAMPLE_RATE
        result.silent = result.silent and float(np.abs(block).max(initial=0.0)) < SILENCE_PEAK
        yield block
        if total >= PROGRESS_FROM_S:
            left = (time.monotonic() - started) / result.seconds * max(0.0, total - result.seconds)
            reporter.progress(min(result.seconds, total), total, left)


def _expected_seconds(file: Path) -> float:
    """Return the duration [s] that a recording's header claims; 0 if it claims none."""
    try:
        return probe(file).duration_s
    except HarkError:
        return 0.0
