from __future__ import annotations

import numpy as np
import pytest

from audio_augmentation import silence
from audio_augmentation.silence import speech_bounds, trim_silence
from core.audio_file import SAMPLE_RATE


def between_silences(speech: np.ndarray, floor: float, rng: np.random.Generator) -> np.ndarray:
    audio = np.pad(speech, (12_000, 20_000))
    return (audio + floor * rng.standard_normal(len(audio))).astype(np.float32)


@pytest.fixture
def word(rng: np.random.Generator) -> np.ndarray:
    t = np.arange(8_000) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 300 * t) + 0.1 * rng.standard_normal(8_000)).astype(np.float32)


@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.003, 0.02])
def test_energy_finds_a_word_within_20_ms(word: np.ndarray, floor: float, rng: np.random.Generator) -> None:
    start, end = speech_bounds(between_silences(word, floor, rng))
    assert abs(start - 12_000) <= 320
    assert abs(end - 20_000) <= 320


def test_trimming_keeps_a_margin(word: np.ndarray, rng: np.random.Generator) -> None:
    audio = between_silences(word, 0.0, rng)
    trimmed = trim_silence(audio, margin_s=0.1)
    offset = speech_bounds(audio)[0] - 1_600
    np.testing.assert_array_equal(trimmed, audio[offset : offset + len(trimmed)])
    assert abs(len(trimmed) - (8_000 + 3_200)) <= 640


@pytest.mark.parametrize("method", ["energy", "silero"])
@pytest.mark.parametrize("length", [0, 1, 100, 5_000])
def test_silence_has_no_speech(method: silence.Method, length: int) -> None:
    assert speech_bounds(np.zeros(length, dtype=np.float32), method) == (0, 0)
    assert not len(trim_silence(np.zeros(length, dtype=np.float32), 0.05))


def test_audio_that_is_all_speech_is_not_trimmed(word: np.ndarray) -> None:
    assert speech_bounds(word) == (0, len(word))


def test_silero_finds_no_speech_in_noise(rng: np.random.Generator) -> None:
    noise = (0.05 * rng.standard_normal(32_000)).astype(np.float32)
    assert speech_bounds(noise, "silero") == (0, 0)
    assert speech_bounds(noise, "energy") == (0, 32_000)


def test_silero_finds_real_speech(shared_data) -> None:  # type: ignore[no-untyped-def]
    from core.audio_file import read_audio

    speech = read_audio(sorted((shared_data / "speech" / "arctic").rglob("*.ogg"))[0])
    inner_start, inner_end = speech_bounds(speech)
    start, end = speech_bounds(np.pad(speech, (16_000, 16_000)), "silero")
    assert abs(start - 16_000 - inner_start) < 0.15 * SAMPLE_RATE
    assert abs(end - 16_000 - inner_end) < 0.3 * SAMPLE_RATE
