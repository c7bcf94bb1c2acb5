from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from audio_augmentation import equalizer
from audio_augmentation.equalizer import (
    apply_response,
    high_pass_response,
    low_pass_response,
    random_equalizer,
    tilt_response,
)
from core.audio_file import SAMPLE_RATE


def gain_db_at(before: np.ndarray, after: np.ndarray, hz: float) -> float:
    frequencies, power = signal.welch(before, SAMPLE_RATE, nperseg=1024)
    _, power_after = signal.welch(after, SAMPLE_RATE, nperseg=1024)
    at = int(np.argmin(np.abs(frequencies - hz)))
    return float(10 * np.log10(power_after[at - 1 : at + 2].sum() / power[at - 1 : at + 2].sum()))


@pytest.fixture
def white(rng: np.random.Generator) -> np.ndarray:
    return (0.1 * rng.standard_normal(160_000)).astype(np.float32)


def test_filters_attenuate_beyond_their_cutoff(white: np.ndarray) -> None:
    low = apply_response(white, low_pass_response(2000.0, 4.0))
    assert gain_db_at(white, low, 500) == pytest.approx(0.0, abs=0.5)
    assert gain_db_at(white, low, 2000) == pytest.approx(-3.0, abs=1.0)
    assert gain_db_at(white, low, 4000) == pytest.approx(-24.0, abs=2.5)
    high = apply_response(white, high_pass_response(1000.0, 4.0))
    assert gain_db_at(white, high, 500) == pytest.approx(-24.0, abs=2.5)
    assert gain_db_at(white, high, 4000) == pytest.approx(0.0, abs=0.5)


def test_tilt_is_in_db_per_octave(white: np.ndarray) -> None:
    tilted = apply_response(white, tilt_response(2.0))
    assert gain_db_at(white, tilted, 4000) - gain_db_at(white, tilted, 500) == pytest.approx(6.0, abs=0.7)


def test_a_flat_response_changes_nothing(speech: np.ndarray) -> None:
    np.testing.assert_allclose(apply_response(speech, np.zeros(len(equalizer.GRID_HZ))), speech, atol=1e-6)


def test_random_equalizers_differ_and_stay_within_their_gains(white: np.ndarray, rng: np.random.Generator) -> None:
    gains = [gain_db_at(white, random_equalizer(white, rng, 8.0, 0.0), 1000) for _ in range(30)]
    assert np.std(gains) > 1.5
    assert max(np.abs(gains)) <= 8.5


def test_filters_do_not_shift_a_sound_in_time(click: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(10):
        filtered = random_equalizer(click, rng, microphone=True)
        lag = int(np.argmax(signal.correlate(filtered, click))) - (len(click) - 1)
        assert abs(lag) <= 4


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_the_equalizer_accepts_short_and_empty_audio(length: int, rng: np.random.Generator) -> None:
    audio = rng.uniform(-1, 1, length).astype(np.float32)
    filtered = random_equalizer(audio, rng, microphone=True)
    assert len(filtered) == length
    assert filtered.dtype == np.float32
    assert np.isfinite(filtered).all()
