"""Running a finished bundle over recordings, of any length and format, in constant memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE, SILENCE_PEAK
from core.errors import HarkError
from core.events import Reporter
from core.foreign_audio import foreign_audio_blocks
from core.worded import worded
from model.runtime.detector import BundleError, Detection, Detector
from pipeline.recordings.media import probe

PROGRESS_FROM_S = 120.0  # recordings shorter than that are done before anyone could read how far they are


@dataclass
class HeardFile:
    """What a detector heard in one recording."""

    file: str  # the path as it was given
    seconds: float = 0.0  # of audio that could be read
    detections: list[Detection] = field(default_factory=list)  # in order of time
    scores: list[float] = field(default_factory=list)  # one for each 80 ms, where they were asked for
    silent: bool = True  # nothing in it is louder than -60 dB of full scale
    failure: HarkError | None = None  # what ended the reading early; the attributes above are of what comes before


def open_detector(
    bundle: Path, fa_per_day: float | None = None, threshold: float | None = None, int8: bool = False
) -> Detector:
    """A detector of a bundle (zip or folder), its files checked. Raises HarkError: no such bundle, a damaged one, one
    of another schema, or a false-alarm rate that makes no sense."""
    try:
        return Detector(bundle, fa_per_day=fa_per_day, threshold=threshold, int8=int8)
    except BundleError as error:
        raise HarkError(error.what, error.why, error.what_to_do) from error
    except Exception as error:
        # All of it is made of what the bundle says, and what a damaged one says may fail anywhere: in its numbers, in
        # the zip's own records, in onnxruntime, whose exceptions have no base class of their own.
        logging.getLogger(__name__).warning("opening %s failed", bundle, exc_info=True)
        raise HarkError(
            worded("%(bundle)s is damaged.", bundle=str(bundle)),
            f"{type(error).__name__}: {str(error)[:300].rstrip('.')}.",
            worded("Get the bundle again."),
        ) from error


def listen(detector: Detector, file: Path | str, reporter: Reporter, keep_scores: bool = False) -> HeardFile:
    """Run the detector over one recording; one that cannot be read (to its end) is no exception but a ``failure``.
    Raises HarkError: the detector itself failed, or took too much time or memory."""
    heard = HeardFile(str(file))
    try:
        for scores in detector.score_recording(_watched(Path(file), heard, reporter)):
            heard.detections += detector.detections(scores)
            if keep_scores:
                heard.scores += scores.tolist()
    except HarkError as error:
        heard.failure = error
    except BundleError as error:
        raise HarkError(error.what, error.why, error.what_to_do) from error
    return heard


def _watched(file: Path, heard: HeardFile, reporter: Reporter) -> Iterator[np.ndarray]:
    """The blocks of a recording; counts them into ``heard`` and reports progress where it is a long one."""
    total = _expected_seconds(file)
    started = time.monotonic()
    if total >= PROGRESS_FROM_S:
        reporter.stage("detect", f"Listening to {file.name}")
    for block in foreign_audio_blocks(file):
        heard.seconds += len(block) / SAMPLE_RATE
        heard.silent = heard.silent and float(np.abs(block).max(initial=0.0)) < SILENCE_PEAK
        yield block
        if total >= PROGRESS_FROM_S:
            left = (time.monotonic() - started) / heard.seconds * max(0.0, total - heard.seconds)
            reporter.progress(min(heard.seconds, total), total, left)


def _expected_seconds(file: Path) -> float:
    """The length that a recording's header claims; 0 where it claims none."""
    try:
        return probe(file).duration_s
    except HarkError:
        return 0.0
