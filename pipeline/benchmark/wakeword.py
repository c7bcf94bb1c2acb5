"""The yardstick: bundles on real recordings of their phrase, against hours of other real speech, quiet and in noise.

The audio lies outside the repository (``../shared/data`` or HARK_SHARED). None of it may have been trained on: the
folders named here are kept for testing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audio_augmentation.noise import add_noise, colored_noise
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import REPOSITORY
from core.errors import HarkError
from model.metrics import Interval, ScoredStream, count_false_alarms, poisson_interval, wilson_interval
from model.runtime.detector import Detector

KEYPHRASE_FOLDERS = {
    "computer": "computer", "smart mirror": "smart_mirror", "snowboy": "snowboy", "athena": "athena",
    "amelia": "amelia", "hey chatterbox": "heychatterbox",
}  # fmt: skip
OTHER_SPEECH = (
    "speech/librispeech-dev-clean",
    "speech/librispeech-test-other",
    "speech/commonvoice-mini",
    "speech/barista-untranscribed",
)
KITCHEN_NOISE = "noise/speech-commands/doing_the_dishes.ogg"
SNR_DB = 10.0
CLEAN_FLOOR_DB = 50.0  # below the speech: the self-noise of a microphone
GAP_S = 1.5  # between clips
HIT_AFTER_S = 1.0  # a detection counts until this long after a clip's end
BLOCK_S = 60.0
RATES = (0.1, 0.5, 2.0)  # false alarms an hour


@dataclass(frozen=True)
class StreamScores:
    """Scores of a stream and the spans [first, last) of scores in which each clip counts as heard."""

    scores: np.ndarray
    spans: list[tuple[int, int]]


def shared_folder() -> Path:
    """The folder of real audio. Raises HarkError where it is absent."""
    folder = Path(os.environ.get("HARK_SHARED") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        raise HarkError(
            "The real recordings for this benchmark are not here.",
            f"There is no folder {folder}.",
            "Point HARK_SHARED at a folder laid out like it (keyphrases/<phrase>/*.ogg, speech/, noise/).",
        )
    return folder


def audio_files(folder: Path) -> list[Path]:
    """The recordings under a folder, in a fixed order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".ogg", ".wav", ".flac", ".mp3"))


def _blocks(
    files: Sequence[Path], condition: str, kitchen: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
    """The files one after the other in blocks of about a minute, with noise; and where each file is in its block."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    length = 0
    gap = int(GAP_S * SAMPLE_RATE)
    for number, path in enumerate(files):
        clip = read_audio(path)
        parts += [np.zeros(gap, np.float32), clip]
        spans.append((length + gap, length + gap + len(clip)))
        length += gap + len(clip)
        if length >= BLOCK_S * SAMPLE_RATE or number == len(files) - 1:
            audio = np.concatenate([*parts, np.zeros(gap, np.float32)])
            if condition == "kitchen":
                start = int(rng.integers(0, len(kitchen)))
                repeats = -(-(start + len(audio)) // len(kitchen))
                audio = add_noise(audio, np.tile(kitchen, repeats)[start : start + len(audio)], SNR_DB)
            else:
                audio = add_noise(audio, colored_noise(len(audio), 1.0, rng), CLEAN_FLOOR_DB)
            yield audio, spans
            parts, spans, length = [], [], 0


def score_files(
    detector: Detector, files: Sequence[Path], condition: str, kitchen: np.ndarray, seed: int
) -> StreamScores:
    """Run a detector over the files as one stream."""
    period = detector.score_period_s
    detector.reset()
    scores: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    offset = 0
    for audio, places in _blocks(files, condition, kitchen, seed):
        for start, end in places:
            first = int((offset + start) / SAMPLE_RATE / period)
            last = int(np.ceil((offset + end) / SAMPLE_RATE / period + HIT_AFTER_S / period))
            spans.append((first, last))
        scores.append(detector.scores(audio))
        offset += len(audio)
    return StreamScores(np.concatenate(scores), spans)


def threshold_at(stream: ScoredStream, fa_per_hour: float) -> float:
    """The lowest threshold with at most that many false alarms an hour on the stream itself."""
    allowed = fa_per_hour * stream.hours
    candidates = np.unique(stream.scores)[::-1]
    low, high = 0, len(candidates) - 1  # thresholds get lower, alarms more
    while low < high:
        middle = (low + high + 1) // 2
        if count_false_alarms([stream], float(candidates[middle])) <= allowed:
            low = middle
        else:
            high = middle - 1
    if count_false_alarms([stream], float(candidates[low])) > allowed:
        return float(np.nextafter(candidates[0], 2.0))
    return float(candidates[low])


def measure_bundle(bundle: Path, folder: Path, int8: bool = False, seed: int = 0) -> dict[str, Any]:
    """Miss rates with intervals at each of :data:`RATES`, clean and in kitchen noise at 10 dB, for one bundle.

    Thresholds are those at which the detector has exactly that rate on the other speech of the same condition; beside
    them, what the bundle's own default threshold gives.
    """
    detector = Detector(bundle, int8=int8)
    if detector.phrase not in KEYPHRASE_FOLDERS:
        raise HarkError(
            f"There are no real recordings of {detector.phrase!r} to measure on.",
            f"Known are: {', '.join(KEYPHRASE_FOLDERS)}.",
            "Give a bundle of one of these phrases.",
        )
    phrase_files = audio_files(folder / "keyphrases" / KEYPHRASE_FOLDERS[detector.phrase])
    other_files = [p for name in OTHER_SPEECH for p in audio_files(folder / name)]
    # Speakers in turn, not an hour of each.
    other_files = [other_files[i] for i in np.random.default_rng(seed).permutation(len(other_files))]
    kitchen = read_audio(folder / KITCHEN_NOISE)
    conditions: dict[str, Any] = {}
    for condition in ("clean", "kitchen"):
        positive = score_files(detector, phrase_files, condition, kitchen, seed)
        other = score_files(detector, other_files, condition, kitchen, seed + 1)
        stream = ScoredStream(other.scores, np.zeros(0))
        best = np.asarray([positive.scores[a:b].max() for a, b in positive.spans])
        at: dict[str, Any] = {}
        for rate in RATES:
            threshold = threshold_at(stream, rate)
            at[f"{rate:g}"] = {"threshold": threshold, "miss_rate": _miss(best, threshold).as_dict()}
        alarms = count_false_alarms([stream], detector.threshold)
        conditions[condition] = {
            "clips": len(best),
            "hours": round(stream.hours, 3),
            "at_fa_per_hour": at,
            "as_shipped": {
                "threshold": detector.threshold,
                "miss_rate": _miss(best, detector.threshold).as_dict(),
                "fa_per_hour": poisson_interval(alarms, stream.hours).as_dict(),
            },
        }
    return {"phrase": detector.phrase, "conditions": conditions}


def _miss(best: np.ndarray, threshold: float) -> Interval:
    return wilson_interval(int((best < threshold).sum()), len(best))


def bench_wakeword(bundles: Sequence[Path]) -> dict[str, Any]:
    """:func:`measure_bundle` of each bundle, by its file name."""
    if not bundles:
        raise HarkError(
            "There is nothing to measure.", "No bundle was given.", "./hark bench wakeword BUNDLE [BUNDLE ...]"
        )
    folder = shared_folder()
    return {Path(bundle).stem: measure_bundle(Path(bundle), folder) for bundle in bundles}
