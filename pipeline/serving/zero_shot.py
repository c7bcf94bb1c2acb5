"""Detection of a phrase in a live stream without a trained detector."""

from __future__ import annotations

import numpy as np

from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
from model.runtime.detector import Detection, Trigger
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.speech_service.client import TIMEOUT_S, call

CHUNK = 1_280  # samples: 80 ms
HOP_CHUNKS = 6  # a window is scored every 480 ms


def _score(phrase: str, language: str, window: np.ndarray | None = None) -> tuple[float, float, int]:
    from pipeline.scoring.zero_shot import window_score  # imports torch, which only the speech service loads

    return window_score(phrase, language, window)


class ZeroShotStream:
    """Scores a stream of audio as ``model.runtime.detector.Detector`` does. The speech service does the work.

    Attributes:
        threshold: the score from which the phrase counts as detected.
        score_period_s: seconds per score.
    """

    score_period_s = SCORE_PERIOD_S

    def __init__(self, keyphrase: Keyphrase) -> None:
        """Load the phrase's scorer. Raises HarkError if the phrase has no phones, or the speech service fails."""
        self._phrase = keyphrase.text, keyphrase.language
        _none, self.threshold, samples = call(TIMEOUT_S, _score, *self._phrase)
        self._trigger = Trigger(self.threshold, round(REFRACTORY_S / SCORE_PERIOD_S))
        self._window = np.zeros(samples, np.float32)
        self._pending = np.zeros(0, np.float32)
        self._chunks, self._score = 0, 0.0

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Return the scores [n] of 80 ms chunks completed by ``samples`` (float32, 16 kHz).

        Raises HarkError if that fails.
        """
        self._pending = np.concatenate([self._pending, samples])
        count = len(self._pending) // CHUNK
        scores = np.zeros(count, np.float32)
        for number in range(count):
            chunk = self._pending[number * CHUNK : (number + 1) * CHUNK]
            self._window = np.concatenate([self._window[CHUNK:], chunk])
            self._chunks += 1
            if self._chunks % HOP_CHUNKS == 0:
                self._score = call(TIMEOUT_S, _score, *self._phrase, self._window)[0]
            scores[number] = self._score
        self._pending = self._pending[count * CHUNK :]
        return scores

    def detections(self, scores: np.ndarray) -> list[Detection]:
        """Return the detections in scores that continue the previous ones."""
        return self._trigger.detections(scores, SCORE_PERIOD_S)
