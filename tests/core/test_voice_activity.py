"""The probability of speech, of one stream and of two."""

from __future__ import annotations

import numpy as np

from core.voice_activity import SpeechProbability, speech_probabilities
from tests.support.untrained_bundle import spoken

TEXT = "the weather will be nice tomorrow"


def test_no_audio_gives_no_probabilities() -> None:
    assert speech_probabilities([]).shape == (0,)


def test_chunk_sizes_do_not_change_the_probabilities() -> None:
    audio = spoken(TEXT)
    whole = speech_probabilities([audio])
    for size in (1, 300, 512, 7001):
        if size == 1:
            parts = [audio[:700], *np.array_split(audio[700:720], 20), audio[720:]]
        else:
            parts = [audio[at : at + size] for at in range(0, len(audio), size)]
        np.testing.assert_allclose(speech_probabilities(parts), whole, atol=1e-5)


def test_two_streams_do_not_mix() -> None:
    audio = spoken(TEXT)
    alone = SpeechProbability().feed(audio)
    one, other = SpeechProbability(), SpeechProbability()
    heard = []
    for at in range(0, len(audio), 4096):
        heard.append(one.feed(audio[at : at + 4096]))
        other.feed(np.random.default_rng(at).standard_normal(4096).astype(np.float32))
    np.testing.assert_allclose(np.concatenate(heard), alone, atol=1e-5)
