"""Diarization by voice: silero-vad finds speech, and similar windows of it belong to the same person.

resemblyzer's encoder maps each window of 1.6 s to an embedding with 256 dimensions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Progress, Reporter, silent_reporter
from core.readiness import Readiness
from core.voice_activity import FRAME_S, speech_probabilities
from core.worded import worded
from pipeline.recordings.diarization.clustering import unit, voices
from pipeline.recordings.diarization.turns import Diarization, Turn

WINDOW_S = 1.6  # seconds; the encoder's training length
HOP_S = 0.4
MIN_DURATION_S = 0.3  # seconds of speech per embedding
STEP_S = 0.1  # seconds; the resolution of the turns
FRAMES_A_SECOND = 100  # frames per second of the encoder's spectrogram
BATCH = 64
LEVEL = 1e-3  # mean square (-30 dBFS) to which quiet speech is raised, as in the encoder's training

# Arguments of `speech_regions`: the probability at which speech begins, the one below which it ends, the longest pause
# within it, and the margin at both ends. Windows cover only CERTAIN speech, turns also its edges and short pauses. The
# values were tuned together with the clustering.
CERTAIN = (0.5, 0.35, 0.25, 0.06)
SPOKEN = (0.3, 0.15, 0.5, 0.13)
MIN_SOUND_S = 0.1  # seconds; a shorter sound is not speech
CHANGE_COST = 1.0  # nats per change of speaker within speech
SHARPNESS = 20.0  # factor that turns a cosine into the log-probability of a speaker
# Two people are assumed to speak at the same time where an embedding lies between two voices: 0 is the middle, 1 is one
# of the voices. The result is only a hint. A third of the overlaps mixed from LibriSpeech is marked, and a third of the
# marked time is overlap; in the rest, one speaker follows another without a pause. In meetings with a distant
# microphone, almost nothing is marked.
BETWEEN = 0.3
MIN_OVERLAP_STEPS = 3

INSTALL = "python -m pip install --no-deps -r requirements-alone.txt"
PACKAGES = ("resemblyzer", "silero-vad")

_lock = threading.Lock()


def diarize_audio(audio: np.ndarray, speakers: int | None = None, reporter: Reporter | None = None) -> Diarization:
    """Return the turns in float32 [samples] at 16 kHz; ``speakers`` is their number, if known."""
    reporter = reporter or silent_reporter()
    probabilities = speech_probabilities([audio])
    spoken = speech_regions(probabilities, *SPOKEN)
    windows = _windows(speech_regions(probabilities, *CERTAIN)) or _windows(spoken)
    if not windows:
        return Diarization((), "acoustic", versions=versions(*PACKAGES))
    embeddings = _embeddings(audio, windows, reporter)
    middles = np.array([(start + end) / 2 for start, end in windows])
    even = _smoothed(embeddings, windows)
    centroids = voices(even, middles, speakers)
    turns = list(_turns(embeddings, centroids, windows, spoken))
    order = list(dict.fromkeys(turn.speaker for turn in turns))
    names = {number: f"S{place}" for place, number in enumerate(order, 1)}
    return Diarization(
        tuple(Turn(turn.start_s, turn.end_s, names[turn.speaker], turn.overlap) for turn in turns),
        "acoustic",
        versions=versions(*PACKAGES),
        embeddings={names[number]: tuple(round(float(x), 6) for x in centroids[int(number)]) for number in order},
    )


def speech_regions(
    probabilities: np.ndarray, begins: float, ends: float, pause_s: float, margin_s: float
) -> list[tuple[float, float]]:
    """Return (start, end) [s] of each region of speech, from the probability of speech in each 32 ms.

    A region begins at the probability ``begins`` and ends below ``ends``. Pauses shorter than ``pause_s`` are part of
    it, and ``margin_s`` is added at both ends.
    """
    spans: list[list[float]] = []
    speaking = False
    for number, probability in enumerate(probabilities):
        was, speaking = speaking, probability >= (ends if speaking else begins)
        if speaking and not was and spans and number * FRAME_S - spans[-1][1] < pause_s:
            spans[-1][1] = (number + 1) * FRAME_S
        elif speaking and not was:
            spans.append([number * FRAME_S, (number + 1) * FRAME_S])
        elif speaking:
            spans[-1][1] = (number + 1) * FRAME_S
    length = len(probabilities) * FRAME_S
    sounds = [(start, end) for start, end in spans if end - start >= MIN_SOUND_S]
    regions: list[tuple[float, float]] = []
    for start, end in sounds:
        before = regions[-1][1] if regions else 0.0
        regions.append((max(before, start - margin_s), min(length, end + margin_s)))
    return regions


def embed(audio: np.ndarray) -> np.ndarray:
    """Return the unit-norm embedding [256] of one speaker's audio [samples]. Raises HarkError if it is silent."""
    windows = _windows(speech_regions(speech_probabilities([audio]), *CERTAIN))
    if not windows:
        raise HarkError(
            worded("There is not enough speech to recognize this voice."),
            worded("The audio contains no speech."),
            worded("Choose another part."),
        )
    return np.asarray(unit(_embeddings(audio, windows, silent_reporter()).mean(axis=0)), np.float32)


def readiness() -> Readiness:
    """Check whether resemblyzer is installed, without importing it."""
    if find_spec("resemblyzer") is not None:
        return Readiness(True)
    return Readiness(False, worded("The package %(name)s is not installed.", name=PACKAGES[0]), INSTALL)


def versions(*packages: str) -> dict[str, str]:
    result = {}
    for package in packages:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return result


def _windows(regions: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (start, end) of windows of at most 1.6 s, spread evenly over each region."""
    windows = []
    for start, end in regions:
        if end - start >= MIN_DURATION_S:
            steps = max(0, int(np.ceil((end - start - WINDOW_S) / HOP_S)))
            begins = np.linspace(start, max(start, end - WINDOW_S), steps + 1)
            windows += [(float(begin), min(end, float(begin) + WINDOW_S)) for begin in begins]
    return windows


@cache
def _encoder() -> Any:
    try:
        from resemblyzer import VoiceEncoder
    except ImportError as error:
        raise HarkError(
            worded("Speakers cannot be detected by their voices here."),
            worded("The package resemblyzer is missing or broken (%(error)s).", error=str(error)),
            INSTALL,
        ) from error
    return VoiceEncoder("cpu", verbose=False)


def _embeddings(audio: np.ndarray, windows: Sequence[tuple[float, float]], reporter: Reporter) -> np.ndarray:
    """Return a unit-norm embedding for each window: float32 [windows, 256]."""
    import torch

    with _lock:  # loaded once for all threads
        encoder = _encoder()
    parts = [audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] for start, end in windows]
    energy = float(sum(np.sum(np.square(part), dtype=np.float64) for part in parts))
    gain = max(1.0, LEVEL / max(1e-9, energy / max(1, sum(map(len, parts)))))
    progress = Progress(reporter, len(windows))
    batches: list[np.ndarray] = []
    spectra: list[np.ndarray] = []
    for number, spectrum in enumerate(_spectra(audio, windows), 1):
        spectra.append(np.resize(spectrum * gain, (int(WINDOW_S * FRAMES_A_SECOND), spectrum.shape[1])))
        if len(spectra) == BATCH or number == len(windows):
            with torch.inference_mode():
                batches.append(encoder(torch.from_numpy(np.stack(spectra).astype(np.float32))).numpy())
            progress.advance(len(spectra))
            spectra.clear()
    return np.concatenate(batches)


def _spectra(audio: np.ndarray, windows: Sequence[tuple[float, float]]) -> Iterator[np.ndarray]:
    """Yield the power spectrogram [frames, 40] of each window. Overlapping ones are computed together."""
    from resemblyzer import wav_to_mel_spectrogram

    first = 0
    while first < len(windows):
        last = first
        while last + 1 < len(windows) and windows[last + 1][0] < windows[last][1] and last - first < 4 * BATCH:
            last += 1
        begin = windows[first][0]
        part = audio[int(begin * SAMPLE_RATE) : int(np.ceil(windows[last][1] * SAMPLE_RATE))]
        spectrum = wav_to_mel_spectrogram(np.pad(part, (0, max(0, SAMPLE_RATE // 5 - len(part)))))
        for start, end in windows[first : last + 1]:
            offset = min(len(spectrum) - 1, round((start - begin) * FRAMES_A_SECOND))
            yield spectrum[offset : offset + max(1, round((end - start) * FRAMES_A_SECOND))]
        first = last + 1


def _smoothed(embeddings: np.ndarray, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Average each window's embedding with its nearest neighbours, to reduce noise before clustering."""
    even = np.empty_like(embeddings)
    for number, (start, _) in enumerate(windows):
        near = [
            other
            for other in (number - 1, number, number + 1)
            if 0 <= other < len(windows) and abs(windows[other][0] - start) < 1.5 * HOP_S
        ]
        even[number] = embeddings[near].mean(axis=0)
    return unit(even)


def _turns(
    embeddings: np.ndarray,
    centroids: np.ndarray,
    windows: Sequence[tuple[float, float]],
    spoken: Sequence[tuple[float, float]],
) -> Iterator[Turn]:
    """Yield the turns in each region of ``spoken``; a speaker's name is the number of their row in ``centroids``."""
    cosines = embeddings @ centroids.T
    probable = np.exp(SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)))
    probable /= probable.sum(axis=1, keepdims=True)
    middles = np.array([(start + end) / 2 for start, end in windows])
    for start, end in spoken:
        steps = max(1, round((end - start) / STEP_S))
        times = start + (np.arange(steps) + 0.5) * (end - start) / steps
        path = _path(_at_times(probable, middles, times) + 1e-3)
        both = _both(_at_times(cosines, middles, times), centroids)
        changes = [0, *(np.flatnonzero(np.diff(path * 2 + both)) + 1), steps]
        edges = [round(float(start + (end - start) * change / steps), 3) for change in changes]
        for number, change in enumerate(changes[:-1]):
            yield Turn(edges[number], edges[number + 1], str(path[change]), bool(both[change]))


def _both(cosines: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return a mask [steps] of the steps in which two people speak, from each step's cosines [steps, voices]."""
    if len(centroids) < 2:
        return np.zeros(len(cosines), bool)
    first, second = np.argsort(-cosines, axis=1)[:, :2].T
    steps = np.arange(len(cosines))
    distance = np.maximum(1e-3, 1 - np.sum(centroids[first] * centroids[second], axis=1))
    between = (cosines[steps, first] - cosines[steps, second]) / distance < BETWEEN
    edges = np.flatnonzero(np.diff(np.concatenate([[False], between, [False]])))
    for begin, end in edges.reshape(-1, 2):
        between[begin:end] = end - begin >= MIN_OVERLAP_STEPS
    return between


def _at_times(probable: np.ndarray, middles: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return probabilities [times, voices]: the mean of the windows around each time, weighted by proximity."""
    result = np.empty((len(times), probable.shape[1]))
    for number, time in enumerate(times):
        first, last = np.searchsorted(middles, (time - WINDOW_S / 2, time + WINDOW_S / 2))
        if first == last:
            near = int(np.abs(middles - time).argmin())
            first, last = near, near + 1
        weights = np.maximum(0.05, 1 - np.abs(middles[first:last] - time) / (WINDOW_S / 2))
        result[number] = weights @ probable[first:last] / weights.sum()
    return result


def _path(probable: np.ndarray) -> np.ndarray:
    """Return the most probable sequence of voices [steps] (Viterbi), from unscaled probabilities [steps, voices]."""
    from librosa.sequence import viterbi

    voices = probable.shape[1]
    changes = np.ones((voices, voices)) + (np.exp(CHANGE_COST) - 1) * np.eye(voices)
    return np.asarray(viterbi(probable.T / probable.max(), changes / changes.sum(axis=1, keepdims=True)))
