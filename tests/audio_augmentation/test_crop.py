from __future__ import annotations

import numpy as np

from audio_augmentation.crop import random_segment, repeat_to
from core.audio_file import SAMPLE_RATE


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
