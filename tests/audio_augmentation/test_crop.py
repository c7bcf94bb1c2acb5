from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_augmentation.crop import crop, crop_around_end, crop_to_end, random_crop, random_segment, repeat_to
from core.audio_file import SAMPLE_RATE


@given(st.integers(0, 50), st.integers(-80, 80), st.integers(0, 120))
def test_crop_is_indexing_into_audio_with_zeros_around_it(length: int, start: int, samples: int) -> None:
    audio = np.arange(1, length + 1, dtype=np.float32)
    expected = [audio[i] if 0 <= i < length else 0.0 for i in range(start, start + samples)]
    assert crop(audio, start, samples).tolist() == expected


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 samples"):
        crop(np.zeros(4), 0, -1)


def test_random_crop_reaches_every_start_and_keeps_short_audio_whole(rng: np.random.Generator) -> None:
    audio = np.arange(10, dtype=np.float32) + 1
    assert {int(random_crop(audio, 4, rng)[0]) for _ in range(300)} == set(range(1, 8))
    for _ in range(50):
        assert random_crop(audio, 25, rng).sum() == audio.sum()
    assert len(random_crop(np.zeros(0, dtype=np.float32), 5, rng)) == 5


def test_the_phrase_ends_at_a_random_point_before_the_windows_end(rng: np.random.Generator) -> None:
    audio = np.zeros(30_000, dtype=np.float32)
    audio[19_999] = 1.0
    afters = set()
    for _ in range(200):
        window, end = crop_around_end(audio, 20_000, 24_000, rng)
        assert len(window) == 24_000
        assert window[end - 1] == 1.0
        afters.add(24_000 - end)
    assert min(afters) < 0.02 * SAMPLE_RATE
    assert 0.18 * SAMPLE_RATE < max(afters) <= 0.2 * SAMPLE_RATE
    assert crop_to_end(audio, 20_000, 10)[-1] == 1.0


def test_repeated_audio_has_no_step_at_its_seams(rng: np.random.Generator) -> None:
    tone = np.sin(2 * np.pi * 200.3 * np.arange(5_000) / SAMPLE_RATE).astype(np.float32)
    long = repeat_to(tone, 40_000)
    assert len(long) == 40_000
    np.testing.assert_array_equal(long[:4_800], tone[:4_800])
    assert np.abs(np.diff(long)).max() < 1.5 * np.abs(np.diff(tone)).max()
    for length in (0, 1, 2, 3, 7):
        assert len(repeat_to(np.ones(length, dtype=np.float32), 10)) == 10
        assert len(random_segment(np.ones(length, dtype=np.float32), 10, rng)) == 10
    assert len(random_segment(tone, 100, rng)) == 100
