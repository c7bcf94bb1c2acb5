"""Listening with a large detector that was never trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import read_audio
from model.encoder_backbone import encoder_path
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.keyword_scoring import places
from pipeline.training.zero_shot import UntrainedDetector
from tests.support.spoken_words import say

pytestmark = pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")


def test_a_phrase_is_found_once_where_it_is_said() -> None:
    ear = UntrainedDetector(Keyphrase("smart mirror"))
    gap = np.zeros(24_000, np.float32)
    before, phrase = say("the weather is very nice"), say("smart mirror")
    audio = np.concatenate([gap, before, gap, phrase, gap, before, gap, phrase, gap])
    audio = (audio + 3e-4 * np.random.default_rng(0).standard_normal(len(audio))).astype(np.float32)
    first = (2 * len(gap) + len(before)) / 16_000
    second = first + (2 * len(gap) + len(before) + len(phrase)) / 16_000
    found = list(places([audio[:50_000], audio[50_000:]], ear.scores, ear.frame_s, ear.least))
    assert [guess.start_s for guess in found] == pytest.approx([first, second], abs=0.25)
    assert all(guess.end_s - guess.start_s < 1.5 and guess.score > ear.least for guess in found)


def test_what_is_not_said_is_not_found() -> None:
    ear = UntrainedDetector(Keyphrase("hey compass"))
    for audio in (np.zeros(0, np.float32), np.zeros(100, np.float32), np.zeros(32_000, np.float32)):
        scores, starts = ear.scores(audio)
        assert len(scores) == len(starts) == len(audio) // 320 and scores.max(initial=0.0) < 0.1
    assert ear.scores(np.pad(say("the weather is very nice"), 8_000))[0].max() < ear.least


@pytest.mark.slow(reason="scores real recordings")
def test_real_recordings_of_a_phrase(shared_data: Path) -> None:
    ear = UntrainedDetector(Keyphrase("smart mirror"))
    files = sorted((shared_data / "keyphrases" / "smart_mirror").glob("*.ogg"))[:40]
    assert np.mean([ear.scores(np.pad(read_audio(file), (0, 8_000)))[0].max() > ear.least for file in files]) > 0.95
