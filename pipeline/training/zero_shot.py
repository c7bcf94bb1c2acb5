"""A large detector that was never calibrated.

How well the phones of a phrase match and what the decoder says of it (``model.rescoring``) are added up as a calibrated
detector adds them up. Above which sum that is the phrase, calibration reads off hours of other speech; here it is one
number for all phrases.
"""

from __future__ import annotations

import numpy as np

from core.audio_file import SAMPLE_RATE
from model.encoder import loaded_backbone
from model.encoder_backbone import FRAME_SAMPLES
from model.encoder_detector import EncoderDetector
from model.phones import outputs_of
from model.rescoring import spellings
from model.second_pass import verifier_name
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.keyword_scoring import keyword_scores, peaks

RESCORE_ABOVE = -4.0  # a match score that trained detectors of several phrases ask from (-3.4 to -4.0), or lower
ASKED_EVERY = 24  # frames at least between two places where the decoder is asked: a stream's windows are as far apart


class UntrainedDetector:
    """Scores of a phrase in recordings; see :mod:`pipeline.training.keyword_scoring`, whose ``FrameScores``
    :meth:`scores` is."""

    name = "moonshine-tiny, untrained"
    frame_s = FRAME_SAMPLES / SAMPLE_RATE
    least = 0.5

    def __init__(self, keyphrase: Keyphrase) -> None:
        """Load what the phrase needs.

        Raises:
            HarkError: the phrase has no phones, or the package with the encoder is missing.
        """
        ways = outputs_of(keyphrase)
        self._detector = EncoderDetector.of_phrase(ways, 2.0, spellings(keyphrase.text), RESCORE_ABOVE, verifier_name())

    def scores(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The score from 0 to 1 of the phrase ending at each frame of audio [samples], and the frame where it began."""
        detector, second_pass = self._detector, self._detector.second_pass
        assert second_pass is not None
        roots, states = loaded_backbone().hear(audio)
        if not len(roots):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        match = detector.follow(roots)
        scores = np.zeros(len(match), np.float32)
        asked = peaks(match, RESCORE_ABOVE, ASKED_EVERY)
        gains = [second_pass.gain(roots, states, frame) for frame in asked]
        scores[asked] = detector.score(match[asked] + np.asarray(gains, np.float32))
        _, starts = keyword_scores(2 * np.log(np.maximum(roots, 1e-4)), detector.config.pronunciations[0])
        return scores, starts
