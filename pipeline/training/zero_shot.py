"""A large detector before any training: what training would add is little more than where its threshold lies.

How well the phones of a phrase match and what the decoder says of it (``model.rescoring``) are added up as a trained
detector adds them up. Above which sum that is the phrase, training reads off hours of other speech; here it is one
number for all phrases.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.onnx import session
from model.encoder import loaded_trunk, matcher_graph, rescorer_of, trunk_config
from model.encoder_trunk import FRAME_SAMPLES
from model.model import MATCH_SLOPE, RESCORED_WEIGHT, TinyCRNNConfig
from model.phones import outputs_of
from model.rescoring import spellings
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.keyword_scoring import keyword_scores, peaks

RESCORE_ABOVE = -4.0  # a match score that trained detectors of several phrases ask from (-3.4 to -4.0), or lower
ASKED_EVERY = 24  # frames at least between two places where the decoder is asked: a stream's windows are as far apart
THRESHOLD = -1.1  # a match score with what rescoring adds: the mean of what three trained ones need (-1.9 to 0.2)


class UntrainedDetector:
    """Scores of a phrase in recordings; see :mod:`.keyword_scoring`, whose ``FrameScores`` :meth:`scores` is."""

    name = "moonshine-tiny, untrained"
    frame_s = FRAME_SAMPLES / SAMPLE_RATE
    least = 0.5

    def __init__(self, keyphrase: Keyphrase) -> None:
        """Load what the phrase needs.

        Raises:
            HarkError: the phrase has no phones, or the package with the encoder is missing.
        """
        ways = outputs_of(keyphrase)
        config = TinyCRNNConfig.of_size("large", 2.0, trunk_config(), ways)
        rescorer = rescorer_of(replace(config, spellings=spellings(keyphrase.text), rescore_above=RESCORE_ABOVE))
        assert rescorer is not None
        self._phones, self._rescorer = ways[0], rescorer
        self._matcher = session(matcher_graph(ways).SerializeToString())

    def scores(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The score from 0 to 1 of the phrase ending at each frame of audio [samples], and the frame where it began."""
        roots, states = loaded_trunk().hear(audio)
        if not len(roots):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        match = self._matcher.run(None, {"heard": roots[None]})[0][0]
        scores = np.zeros(len(match), np.float32)
        for frame in peaks(match, RESCORE_ABOVE, ASKED_EVERY):
            total = match[frame] + RESCORED_WEIGHT * self._rescorer.at(states, frame)
            scores[frame] = 1 / (1 + np.exp(-MATCH_SLOPE * (total - THRESHOLD)))
        _, starts = keyword_scores(2 * np.log(np.maximum(roots, 1e-4)), self._phones)
        return scores, starts
