"""Scoring of a phrase without training: by phones, and with a large detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import read_audio
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.scoring.keyword_scoring import (
    PhoneScorer,
    guesses_in,
    hardest_in,
    keyword_scores,
    phone_score,
    ranked_confusables,
)
from pipeline.scoring.zero_shot import ZeroShotDetector
from tests.support.emissions import emission
from tests.support.moonshine_package import needs_encoder
from tests.support.spoken_words import joined, say


def test_scores_of_a_known_emission_are_exact() -> None:
    scores, starts = keyword_scores(emission([4, 0, 1, 1, 0, 2, 0, 5]), [1, 2])
    assert scores.argmax() == 5 and scores[5] == pytest.approx(1) and starts[5] in (2, 3)
    scores, _ = keyword_scores(emission([4, 0, 1, 0, 3, 0]), [1, 2])
    assert scores.max() == pytest.approx((0.02 / 0.9) ** 0.5, rel=1e-3), "one phone of two was misrecognized"
    assert keyword_scores(emission([1, 1, 1]), [1, 1])[0].max() < 0.2, "a repeated phone needs a blank between"
    assert keyword_scores(emission([1, 0, 1]), [1, 1])[0].max() == pytest.approx(1)
    assert keyword_scores(emission([3]), [3])[0][0] == pytest.approx(1)
    assert len(keyword_scores(emission([0])[:0], [1])[0]) == 0


def test_a_spoken_phrase_scores_above_others() -> None:
    for phrase in ("smart mirror", "hey compass"):
        right = phone_score(np.pad(say(phrase), 3000), Keyphrase(phrase))
        wrong = phone_score(np.pad(say("the weather is very nice"), 3000), Keyphrase(phrase))
        assert right > 0.3 and wrong < 0.1
    assert phone_score(np.zeros(0, np.float32), Keyphrase("hey compass")) < 0.01
    assert phone_score(np.zeros(16_000, np.float32), Keyphrase("hey compass")) < 0.01


def test_a_truncated_phrase_scores_far_lower() -> None:
    whole = np.pad(say("hey compass"), 3000)
    assert phone_score(whole[: len(whole) // 2], Keyphrase("hey compass")) < 0.3 * phone_score(
        whole, Keyphrase("hey compass")
    )


def test_positions_are_found_in_a_long_stream() -> None:
    filler, _ = joined(["please", "open", "the", "big", "window", "before", "seven"])
    phrase = np.pad(say("smart mirror"), 4000)
    rng = np.random.default_rng(0)
    parts = [filler, phrase, *[filler] * 21, phrase, filler]
    audio = np.concatenate(parts)
    audio = (audio + 3e-4 * rng.standard_normal(len(audio))).astype(np.float32)
    at = len(filler) / 16_000
    expected = [at + 0.25, (len(audio) - len(filler) - len(phrase)) / 16_000 + 0.25]
    assert len(audio) / 16_000 > 60
    blocks = [audio[start : start + 7777] for start in range(0, len(audio), 7777)]
    scorer = PhoneScorer(Keyphrase("smart mirror"))
    found = list(guesses_in(blocks, scorer.scores, scorer.frame_s, 0.3))
    assert [guess.start_s for guess in found] == pytest.approx(expected, abs=0.2)


def test_the_hardest_positions_come_first() -> None:
    streams = [(7, np.pad(say("the weather is nice"), 4000)), (8, np.pad(say("start mirror"), 4000))]
    found = hardest_in(streams, Keyphrase("smart mirror"), 3)
    assert found[0][0] == 8 and len(found) <= 3
    assert [guess.score for _, guess in found] == sorted((guess.score for _, guess in found), reverse=True)
    ranked = ranked_confusables(
        [("the weather", streams[0][1]), ("start mirror", streams[1][1])], Keyphrase("smart mirror")
    )
    assert [text for text, _ in ranked] == ["start mirror", "the weather"]


def test_real_recordings_of_a_phrase_score_high(shared_data: Path) -> None:
    files = sorted((shared_data / "keyphrases" / "smart_mirror").glob("*.ogg"))[:40]
    scores = [phone_score(read_audio(file), Keyphrase("smart mirror")) for file in files]
    assert np.mean(np.asarray(scores) > 0.1) > 0.9


@needs_encoder
def test_a_phrase_is_found_once_where_it_is_spoken() -> None:
    ear = ZeroShotDetector(Keyphrase("smart mirror"))
    gap = np.zeros(24_000, np.float32)
    before, phrase = say("the weather is very nice"), say("smart mirror")
    audio = np.concatenate([gap, before, gap, phrase, gap, before, gap, phrase, gap])
    audio = (audio + 3e-4 * np.random.default_rng(0).standard_normal(len(audio))).astype(np.float32)
    first = (2 * len(gap) + len(before)) / 16_000
    second = first + (2 * len(gap) + len(before) + len(phrase)) / 16_000
    found = list(guesses_in([audio[:50_000], audio[50_000:]], ear.scores, ear.frame_s, ear.min_score))
    assert [guess.start_s for guess in found] == pytest.approx([first, second], abs=0.25)
    assert all(guess.end_s - guess.start_s < 1.5 and guess.score > ear.min_score for guess in found)


@needs_encoder
def test_a_phrase_that_is_not_spoken_is_not_found() -> None:
    ear = ZeroShotDetector(Keyphrase("hey compass"))
    for audio in (np.zeros(0, np.float32), np.zeros(100, np.float32), np.zeros(32_000, np.float32)):
        scores, starts = ear.scores(audio)
        assert len(scores) == len(starts) == len(audio) // 320 and scores.max(initial=0.0) < 0.1
    assert ear.scores(np.pad(say("the weather is very nice"), 8_000))[0].max() < ear.min_score


@needs_encoder
def test_an_untrained_detector_detects_real_recordings_of_a_phrase(shared_data: Path) -> None:
    ear = ZeroShotDetector(Keyphrase("smart mirror"))
    files = sorted((shared_data / "keyphrases" / "smart_mirror").glob("*.ogg"))[:40]
    assert np.mean([ear.scores(np.pad(read_audio(file), (0, 8_000)))[0].max() > ear.min_score for file in files]) > 0.95
