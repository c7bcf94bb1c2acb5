"""Keyword scoring without training: how well a phrase's phones fit the outputs of an acoustic model.

The score is that of CTC keyword spotting: exp(-n), where n is the nats per phone by which the best path through the
phrase's phones is less probable than the best path through any phones (the most probable output of each frame). It is 1
if the model's own output is exactly the phrase. Each frame has the score of the phrase that ends there and begins at
any earlier frame.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.audio_file import SAMPLE_RATE
from model.asr.emissions import Aligner, default_aligner
from model.asr.viterbi import fits, token_path
from model.phones import BLANK, outputs_of, phone_indices
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import phonemes, phonemes_of_words

BLOCK_S = 60.0  # seconds of a long recording that are scored at a time
OVERLAP_S = 4.0  # seconds that the next block repeats, so that no phrase is cut in two
REFRACTORY_S = 1.0  # minimum seconds between two hits
TAIL_S = 0.3  # seconds of silence after a clip, because models output phones slightly late
MAX_PHONE_S = 0.35  # maximum average seconds per phone; a slower path is not speech
NEVER = np.float32(-1e30)
POOL_S = 0.96  # seconds at the end of a window: its new part, and as much of the previous one
MIN_SCORE = 1e-6  # a lower score counts as none
MIN_HARD_SCORE = 0.02  # a position with a lower score is not a hard negative
MIN_INTELLIGIBILITY = 0.15  # minimum confidence, from 0 to 1

# Maps audio [samples] to the score from 0 to 1 of the phrase ending at each frame, and the frame where it began.
FrameScores = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Guess:
    """A span [seconds] in which the phrase may be spoken, with its score from 0 to 1."""

    start_s: float
    end_s: float
    score: float


def pronunciations_of(text: str, language: str = "en") -> tuple[tuple[int, ...], ...]:
    """Return a normalized text's pronunciations as indices of the phone model's outputs; () if it has no phones.

    There are up to two: the text spoken as a whole, and word by word.
    """
    in_one_go = phone_indices(phonemes(text, language))
    by_word = [index for phones in phonemes_of_words(text.split(), language) for index in phone_indices(phones)]
    return tuple(dict.fromkeys(tuple(way) for way in (in_one_go, by_word) if way))


def keyword_scores(log_p: np.ndarray, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of the phrase ending at each frame of an emission [time, outputs], and the frame where it began.

    Returns:
        (scores [time] float32 from 0 to 1, starts [time] int64).
    """
    labels = np.full(2 * len(phones) - 1, BLANK)
    labels[::2] = phones
    lost = (log_p - log_p.max(axis=1, keepdims=True))[:, labels].astype(np.float32)
    states = len(labels)
    jump = np.full(states, NEVER, np.float32)
    jump[2::2] = np.where(labels[2::2] != labels[:-2:2], 0, NEVER)
    value = np.full(states, NEVER, np.float32)
    begun = np.zeros(states, np.int64)
    ways = np.full((3, states), NEVER, np.float32)
    state = np.arange(states)
    scores = np.zeros(len(log_p), np.float32)
    starts = np.zeros(len(log_p), np.int64)
    longest = MAX_PHONE_S * len(phones) / 0.02
    for frame in range(len(log_p)):
        ways[0] = value
        ways[1, 1:] = value[:-1]
        if states > 2:
            np.add(value[:-2], jump[2:], out=ways[2, 2:])
        ways[1, 0] = 0.0  # the phrase begins here
        step = ways.argmax(axis=0)
        value = ways[step, state] + lost[frame]
        begun = np.where(step == 0, begun, begun[state - step])
        if step[0] == 1:
            begun[0] = frame
        starts[frame] = begun[-1]
        if frame - begun[-1] < longest:
            scores[frame] = np.exp(value[-1] / len(phones))
    return scores, starts


def phone_score(audio: np.ndarray, keyphrase: Keyphrase) -> float:
    """Return the best score from 0 to 1 of the phrase anywhere in audio [samples] (a synthetic or mined positive)."""
    log_p = _emission(audio)
    return max((float(keyword_scores(log_p, way)[0].max(initial=0.0)) for way in outputs_of(keyphrase)), default=0.0)


def intelligible(audio: np.ndarray, text: str, language: str = "en", aligner: Aligner | None = None) -> float:
    """Return the confidence, 0 to 1, that audio [samples] contains a text and nothing else.

    Unlike in :func:`phone_score`, the path must go from the first frame to the last, so a clip with repetitions or
    other words has a low confidence. Call this on an engine's clip before the clip goes into the library.
    """
    log_p = _emission(audio, aligner)
    ways = [way for way in pronunciations_of(normalize(text, language), language) if fits(way, len(log_p))]
    nats = (token_path(log_p, way, filler=False).shortfall(0, len(log_p) - 1) / len(way) for way in ways)
    return max((math.exp(-lost) for lost in nats), default=0.0)


def is_understood(audio: np.ndarray, text: str, language: str = "en") -> bool:
    """Return whether a synthesized clip [samples] is intelligible enough to be used."""
    return intelligible(audio, text, language) >= MIN_INTELLIGIBILITY


def _emission(audio: np.ndarray, aligner: Aligner | None = None) -> np.ndarray:
    return (aligner or default_aligner()).log_probabilities(np.pad(audio, (0, round(TAIL_S * SAMPLE_RATE))))


class PhoneScorer:
    """Scores of a phrase in recordings by the phones of Hark's own recognizer; :meth:`scores` is a ``FrameScores``."""

    min_score = 0.1  # a few false alarms per hour of read speech
    window_samples = 3 * SAMPLE_RATE

    def __init__(self, keyphrase: Keyphrase) -> None:
        """Prepare the scorer. Raises HarkError if the phrase has no phones, or the recognizer fails to load."""
        self._ways = outputs_of(keyphrase)
        self._aligner = default_aligner()
        self.name, self.frame_s = self._aligner.name, self._aligner.frame_s

    def scores(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score (0 to 1) of the phrase ending at each frame of audio [samples], and its first frame."""
        log_p = self._aligner.log_probabilities(audio)
        best, starts = keyword_scores(log_p, self._ways[0])
        for way in self._ways[1:]:
            more, more_starts = keyword_scores(log_p, way)
            starts = np.where(more > best, more_starts, starts)
            best = np.maximum(best, more)
        return best, starts

    def window_score(self, audio: np.ndarray) -> float:
        """Return the score of the phrase ending in the last :data:`POOL_S` of audio [window_samples]."""
        return float(self.scores(audio)[0][-round(POOL_S / self.frame_s) :].max(initial=0.0))


def guesses_in(blocks: Iterable[np.ndarray], scores: FrameScores, frame_s: float, min_score: float) -> Iterator[Guess]:
    """Yield the spans in consecutive blocks of audio that score at least ``min_score``, in order of time.

    Each is the best within :data:`REFRACTORY_S`. Memory does not grow with the stream.

    Args:
        scores: of each frame of ``frame_s`` seconds.
    """
    waiting: Guess | None = None
    for offset_s, audio in _overlapping(blocks):
        values, starts = scores(audio)
        for frame in peaks(values, max(min_score, MIN_SCORE), round(REFRACTORY_S / frame_s)):
            guess = Guess(
                round(offset_s + float(starts[frame]) * frame_s, 3),
                round(offset_s + (frame + 1) * frame_s, 3),
                round(float(values[frame]), 4),
            )
            again = waiting is not None and guess.start_s < waiting.end_s  # a score decays slowly
            if waiting is not None and (again or guess.end_s - waiting.end_s < REFRACTORY_S):
                waiting = max(waiting, guess, key=lambda g: g.score)
                continue
            if waiting is not None:
                yield waiting
            waiting = guess
    if waiting is not None:
        yield waiting


def hardest_in(streams: Iterable[tuple[int, np.ndarray]], keyphrase: Keyphrase, count: int) -> list[tuple[int, Guess]]:
    """Return hard negatives: places in recordings (number, audio) that sound like the phrase, the hardest first."""
    scorer = PhoneScorer(keyphrase)
    guesses = (
        (number, guess)
        for number, audio in streams
        for guess in guesses_in([audio], scorer.scores, scorer.frame_s, MIN_HARD_SCORE)
    )
    return heapq.nlargest(count, guesses, key=lambda row: row[1].score)  # on a tie, the first


def ranked_confusables(texts: Sequence[tuple[str, np.ndarray]], keyphrase: Keyphrase) -> list[tuple[str, float]]:
    """Return synthesized texts (text, audio) with the score of the phrase in each, the highest first."""
    scored = [(text, phone_score(audio, keyphrase)) for text, audio in texts]
    return sorted(scored, key=lambda row: (-row[1], row[0]))


def _overlapping(blocks: Iterable[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (start [seconds], audio) of overlapping blocks of a stream."""
    held = np.zeros(0, np.float32)
    start = 0
    size, overlap = int(BLOCK_S * SAMPLE_RATE), int(OVERLAP_S * SAMPLE_RATE)
    fresh = 0
    for block in blocks:
        held = np.concatenate([held, block])
        fresh += len(block)
        while len(held) >= size:
            yield start / SAMPLE_RATE, held[:size]
            held = held[size - overlap :]
            start += size - overlap
            fresh = len(held) - overlap
    if fresh > 0:
        yield start / SAMPLE_RATE, np.pad(held, (0, int(0.3 * SAMPLE_RATE)))


def peaks(scores: np.ndarray, min_score: float, min_gap: int) -> list[int]:
    """Return the frames of the highest scores from ``min_score`` up, at least ``min_gap`` from each other, in order."""
    frames: list[int] = []
    taken = np.zeros(len(scores), bool)
    for frame in np.argsort(-scores, kind="stable"):
        if scores[frame] < min_score:
            break
        if not taken[frame]:
            frames.append(int(frame))
            taken[max(0, frame - min_gap + 1) : frame + min_gap] = True
    return sorted(frames)
