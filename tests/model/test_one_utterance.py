"""One utterance, one detection: a large detector on real recordings of a phrase, each an utterance in a stream."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import REPOSITORY
from model.encoder_backbone import encoder_path
from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
from model.runtime.detector import Trigger, smooth_scores
from tests.support.untrained_bundle import keyword_hmm_model

CLIPS = 12
APART = 3 * SAMPLE_RATE
RECORDINGS = Path(os.environ.get("HARK_SHARED") or REPOSITORY.parent / "shared" / "data") / "keyphrases"


@pytest.mark.slow(reason="runs the encoder on real recordings")
@pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the real recordings are not here")
@pytest.mark.parametrize("phrase", ["computer", "snowboy"])
def test_a_real_utterance_is_detected_once(phrase: str) -> None:
    files = sorted((RECORDINGS / phrase).glob("*.ogg"))[:CLIPS]
    audio = np.concatenate([np.pad(read_audio(file), (0, APART)) for file in files])
    scores = smooth_scores(keyword_hmm_model(phrase, "large").stream_scores(audio))
    fired = Trigger(0.5, round(REFRACTORY_S / SCORE_PERIOD_S)).fired(scores)
    assert len(fired) <= CLIPS, f"{CLIPS} utterances gave {len(fired)} detections"
    assert len(fired) >= 0.9 * CLIPS
