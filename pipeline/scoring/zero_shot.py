"""Detection of a phrase in live audio and in recordings without any training.

It uses a large detector that was not calibrated or, if its encoder is not installed, the phones of Hark's own
recognizer. As in a calibrated detector, the score is the sum of the phones' match score and the gain from the decoder
(``model.large.rescoring``). Calibration would derive a threshold from hours of other speech; here, all phrases have
the same.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np

from core.audio_file import SAMPLE_RATE
from model.languages import is_known
from model.large.decoder_tokens import spellings
from model.large.encoder import loaded_backbone
from model.large.encoder_backbone import FRAME_SAMPLES, encoder_path
from model.large.encoder_detector import EncoderDetector
from model.large.second_pass import verifier_name
from model.phones import outputs_of
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.scoring.keyword_scoring import PhoneScorer, keyword_scores, peaks

RESCORE_ABOVE = -4.0  # match score from which the decoder runs; calibrated detectors have -4.0 to -3.4
WINDOW_S = 2.0  # seconds, into which a phrase fits
PHRASES = 4  # number of phrases whose scorers remain loaded
ASKED_EVERY = 24  # minimum frames between two positions that the decoder scores, as between a stream's windows


class ZeroShotDetector:
    """Scores of a phrase in recordings; :meth:`scores` is a ``FrameScores`` of ``scoring.keyword_scoring``."""

    name = "moonshine-tiny, untrained"
    frame_s = FRAME_SAMPLES / SAMPLE_RATE
    min_score = 0.5

    def __init__(self, keyphrase: Keyphrase) -> None:
        """Load what the phrase needs, the second pass too.

        Raises:
            HarkError: the phrase has no phones, or the package with the encoder is missing.
        """
        ways = outputs_of(keyphrase)
        self._detector = EncoderDetector.of_phrase(
            ways, WINDOW_S, spellings(keyphrase.text), RESCORE_ABOVE, verifier_name()
        )
        assert self._detector.second_pass is not None

    def scores(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score (0 to 1) of the phrase ending at each frame of audio [samples], and its first frame."""
        detector, second_pass = self._detector, self._detector.second_pass
        assert second_pass is not None
        roots, states = loaded_backbone().encode(audio)
        if not len(roots):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        match = detector.follow(roots)
        scores = np.zeros(len(match), np.float32)
        rescored = peaks(match, RESCORE_ABOVE, ASKED_EVERY)
        gains = [second_pass.gain(roots, states, frame) for frame in rescored]
        scores[rescored] = detector.score(match[rescored] + np.asarray(gains, np.float32))
        _, starts = keyword_scores(2 * np.log(np.maximum(roots, 1e-4)), detector.config.pronunciations[0])
        return scores, starts

    @property
    def window_samples(self) -> int:
        """Audio that :meth:`window_score` takes."""
        return self._detector.config.window_samples

    def window_score(self, audio: np.ndarray) -> float:
        """Score the phrase ending in the last 960 ms of audio [window_samples] as a large detector does on a stream."""
        outputs = loaded_backbone().window(np.asarray(audio, np.float32), self.window_samples // FRAME_SAMPLES)
        return float(self._detector.window_scores([outputs])[0])


def scorer_of(keyphrase: Keyphrase, recognizer: bool = False) -> ZeroShotDetector | PhoneScorer:
    """Return the most accurate scorer that is available here for the phrase's language.

    Args:
        recognizer: whether to use Hark's own recognizer even if there is a better scorer.

    Raises:
        HarkError: the phrase has no phones.
    """
    encoder = encoder_path() is not None and is_known(keyphrase.language)
    return ZeroShotDetector(keyphrase) if encoder and not recognizer else PhoneScorer(keyphrase)


_making = Lock()


@lru_cache(PHRASES)
def _scorer(phrase: str, language: str) -> ZeroShotDetector | PhoneScorer:
    """Return a scorer that has run once, so that its next run is fast."""
    scorer = scorer_of(Keyphrase.of(phrase, language))
    scorer.window_score(np.zeros(scorer.window_samples, np.float32))
    return scorer


def window_score(phrase: str, language: str, audio: np.ndarray | None = None) -> tuple[float, float, int]:
    """Return a phrase's score at the end of audio [samples, 16 kHz], its threshold, and the samples per score.

    Shorter audio is padded with silence; None only makes the scorer ready. For the speech service.
    """
    # One request at a time makes a scorer, because torch's exporter, which makes its graphs, is not thread-safe.
    with _making:
        scorer = _scorer(phrase, language)
    samples = scorer.window_samples
    score = 0.0
    if audio is not None:
        end = audio[-samples:]
        score = scorer.window_score(np.pad(end, (samples - len(end), 0)))
    return score, scorer.min_score, samples
