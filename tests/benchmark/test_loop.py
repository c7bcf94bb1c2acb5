"""A household's week, replayed small: what is sent and confirmed silences what recurs, and costs no utterance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.loop import near_phrases, replay
from phrase_augmentation.keyphrase import Keyphrase
from tests.support.untrained_bundle import keyword_hmm_model, lenient, spoken

PHRASE = Keyphrase("hey compass")


def speak(text: str, voice: str, take: int) -> np.ndarray:
    """One voice; each take is of another loudness."""
    return spoken(text, 0.1, 0.1) * np.float32(1.0 - 0.1 * take)


def test_confirmed_false_alarms_are_silent_in_the_next_week(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    monkeypatch.setattr("pipeline.serving.sorting._words", lambda audio, language: "")  # phones alone: faster
    model = lenient(keyword_hmm_model("hey compass", "standard"), "hey compass", "hey campus")
    found = replay(model, 0.5, PHRASE, speak, ["espeak"], ["hey campus"])
    assert found["utterances"] == 2 and found["before"] == {"missed": 0, "false_alarms": 2}
    assert found["after"] == {"missed": 0, "false_alarms": 0} and found["anti_keywords"] >= 1
    assert sum(found["sent"].values()) >= 4 and found["sent"]["phrase, sorted as phrase"] == 2
    assert "other, sorted as phrase" not in found["sent"]


def test_near_phrases_are_not_the_phrase() -> None:
    texts = near_phrases(PHRASE)
    assert len(texts) == len(set(texts)) == 6 and PHRASE.text not in texts
