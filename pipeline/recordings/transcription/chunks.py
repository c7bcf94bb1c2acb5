"""Chunks of speech in a recording, found by silero-vad. Engines get no silence, for which they would invent words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.voice_activity import FRAME, FRAME_S
from pipeline.recordings.transcription.engine import CHUNK_S

SPEECH, STILL_SPEECH = 0.5, 0.35  # probability at which speech begins, and below which it ends (silero-vad's)
MIN_SPEECH_S = 0.2  # seconds; shorter sounds do not count
MIN_PAUSE_S = 0.25  # seconds; shorter pauses are within a word
MAX_PAUSE_S = 2.0  # seconds of a pause within a chunk; a longer one separates two chunks
MARGIN_S = 0.2  # seconds around the speech of a chunk, because the start of a word is detected late


@dataclass(frozen=True)
class Stretch:
    """A span of a recording, from its first sample to its end."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE


def speech(probabilities: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of speech as (first frame, end), with pauses of at least ``MIN_PAUSE_S`` between them."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    quiet_since: int | None = None
    pause = round(MIN_PAUSE_S / FRAME_S)
    for frame, probability in enumerate(probabilities.tolist()):
        if start is None:
            if probability >= SPEECH:
                start, quiet_since = frame, None
        elif probability >= STILL_SPEECH:
            quiet_since = None
        else:
            quiet_since = frame if quiet_since is None else quiet_since
            if frame - quiet_since + 1 >= pause:
                runs.append((start, quiet_since))
                start = None
    if start is not None:
        runs.append((start, quiet_since or len(probabilities)))
    return [(first, end) for first, end in runs if (end - first) * FRAME_S >= MIN_SPEECH_S]


def chunks(probabilities: np.ndarray, samples: int) -> list[Stretch]:
    """Return a recording's chunks for an engine, in order and without overlap, each at most :data:`CHUNK_S` long."""
    runs = speech(probabilities)
    margin = round(MARGIN_S / FRAME_S)
    max_frames = int((CHUNK_S - 2 * MARGIN_S) / FRAME_S)
    spans: list[tuple[int, int]] = []
    for first, last in _parted_by_silence(runs):
        spans += _cut(runs[first:last], probabilities, max_frames)
    stretches: list[Stretch] = []
    for number, (start, end) in enumerate(spans):
        # A margin extends at most to the middle of the pause.
        before = spans[number - 1][1] if number else -2 * margin
        after = spans[number + 1][0] if number + 1 < len(spans) else end + 4 * margin
        begin = max(0, start - min(margin, max(0, start - before) // 2))
        stop = end + min(margin, -(-max(0, after - end) // 2))
        stretch = Stretch(begin * FRAME, min(stop * FRAME, samples))
        if stretch.end > stretch.start:
            stretches.append(stretch)
    return stretches


def _parted_by_silence(runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Group runs between pauses that separate chunks; return the (first, end) indices of each group's runs."""
    groups: list[tuple[int, int]] = []
    first = 0
    for number in range(1, len(runs) + 1):
        if number == len(runs) or (runs[number][0] - runs[number - 1][1]) * FRAME_S > MAX_PAUSE_S:
            groups.append((first, number))
            first = number
    return groups if runs else []


def _cut(runs: Sequence[tuple[int, int]], probabilities: np.ndarray, max_frames: int) -> list[tuple[int, int]]:
    """Cut runs into chunks of at most ``max_frames``, at the longest pause, or where speech is least probable."""
    spans: list[tuple[int, int]] = []
    left = list(runs)
    while left[-1][1] - (start := left[0][0]) > max_frames:
        # A cut in the first third would make the chunk unnecessarily short.
        earliest, latest = start + max_frames // 3, start + max_frames
        pauses = [
            (after[0] - before[1], before[1], after[0])
            for before, after in pairwise(left)
            if earliest <= before[1] <= latest
        ]
        if pauses:
            _, stop, begin = max(pauses)
        else:
            stop = begin = earliest + int(np.argmin(probabilities[earliest:latest]))
        spans.append((start, stop))
        left = [(max(first, begin), last) for first, last in left if last > begin]
    return [*spans, (left[0][0], left[-1][1])]
