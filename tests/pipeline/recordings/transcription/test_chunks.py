"""Chunks contain the speech, are cut at pauses, and have a limited length; silence has no chunks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE
from core.voice_activity import FRAME, FRAME_S, speech_probabilities
from pipeline.recordings.transcription.chunks import MARGIN_S, MAX_PAUSE_S, chunks
from tests.support.sounds import noise
from tests.support.untrained_bundle import spoken

TEXT = "the weather will be nice tomorrow"


def talk(*parts: tuple[float, float]) -> np.ndarray:
    """Return the speech probabilities of (seconds of speech, seconds of pause after it)."""
    frames: list[float] = []
    for said_s, pause_s in parts:
        frames += [0.9] * round(said_s / FRAME_S) + [0.05] * round(pause_s / FRAME_S)
    return np.asarray(frames, np.float32)


def cut(probabilities: np.ndarray) -> list[tuple[float, float]]:
    return [
        (stretch.start / SAMPLE_RATE, stretch.end / SAMPLE_RATE)
        for stretch in chunks(probabilities, len(probabilities) * FRAME)
    ]


def test_a_sentence_in_silence_is_one_chunk_with_small_margins() -> None:
    audio = spoken(TEXT, 3.0, 4.0)
    (chunk,) = chunks(speech_probabilities([audio]), len(audio))
    assert 2.3 < chunk.start / SAMPLE_RATE < 3.1
    assert len(audio) / SAMPLE_RATE - 4.1 < chunk.end / SAMPLE_RATE < len(audio) / SAMPLE_RATE - 3.2


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.02, 0.3])
def test_silence_and_noise_give_no_chunks(level: float) -> None:
    audio = noise(20.0, level=level)
    assert chunks(speech_probabilities([audio]), len(audio)) == []


def test_no_audio_gives_no_chunks() -> None:
    assert chunks(np.zeros(0, np.float32), 0) == []


def test_long_pauses_separate_chunks_and_short_ones_do_not() -> None:
    found = cut(talk((2, 1.0), (2, MAX_PAUSE_S + 1), (2, 0.5)))
    assert len(found) == 2
    assert found[0] == pytest.approx((0.0, 5.0 + MARGIN_S), abs=0.1)
    assert found[1] == pytest.approx((8.0 - MARGIN_S, 10.0 + MARGIN_S), abs=0.1)


def test_long_speech_is_cut_at_its_longest_pause() -> None:
    found = cut(talk((11, 0.4), (7, 0.9), (9, 0.5), (8, 0.3)))
    assert len(found) == 2
    assert found[0][1] == pytest.approx(18.4 + 0.2, abs=0.1)  # in the pause of 0.9 s
    assert found[1][0] == pytest.approx(19.3 - 0.2, abs=0.1)


def test_speech_without_a_pause_is_cut_where_least_probable() -> None:
    probabilities = talk((70, 0))
    probabilities[round(25 / FRAME_S)] = 0.4
    found = cut(probabilities)
    assert found[0][1] == pytest.approx(25, abs=0.1)
    assert found[-1][1] == pytest.approx(70, abs=0.1)
    for before, after in itertools.pairwise(found):
        assert before[1] == pytest.approx(after[0], abs=1e-6)  # nothing is lost or recognized twice


def test_ten_hours_of_apparent_speech_give_chunks_of_bounded_length() -> None:
    found = cut(np.full(round(36_000 / FRAME_S), 0.9, np.float32))
    assert all(end - start <= 30.0 for start, end in found)
    assert sum(end - start for start, end in found) == pytest.approx(36_000, rel=1e-3)


def test_random_speech_gives_valid_chunks() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        parts = [(float(rng.uniform(0.05, 12)), float(rng.exponential(0.7))) for _ in range(40)]
        probabilities = talk(*parts)
        found = cut(probabilities)
        assert all(0 < end - start <= 30.0 for start, end in found)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))
        covered = np.zeros(len(probabilities), bool)
        for start, end in found:
            covered[round(start / FRAME_S) : round(end / FRAME_S)] = True
        long_enough = sum(round(s / FRAME_S) for s, _ in parts if s > 0.3)
        assert (covered & (probabilities > 0.5)).sum() >= 0.99 * long_enough
