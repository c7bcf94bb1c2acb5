"""Clips are cut and joined into streams with known contents at every place."""

from __future__ import annotations

import numpy as np
import pytest

from audio_augmentation.compose import FADE, compose_stream, surround
from audio_augmentation.gain_speed import active_rms, to_db
from core.audio_file import SAMPLE_RATE


def test_clips_follow_each_other_with_gaps(speech: np.ndarray, rng: np.random.Generator) -> None:
    clips = [speech[:9_000], speech[9_000:10_111], speech[:0], speech]
    stream = compose_stream(clips, rng, gap_s=(0.3, 0.3), lead_s=0.25, tail_s=1.0)
    at = 4_000
    for clip in clips:
        inside = stream[at + FADE : at + len(clip) - FADE]
        np.testing.assert_allclose(inside, clip[FADE : len(clip) - FADE], atol=1e-6)
        at += len(clip) + 4_800
    assert len(stream) == at - 4_800 + 16_000
    drawn = compose_stream(clips, rng, gap_s=(0.1, 0.6), lead_s=0.25, tail_s=1.0)
    assert 3 * 0.1 * SAMPLE_RATE <= len(drawn) - sum(map(len, clips)) - 20_000 <= 3 * 0.6 * SAMPLE_RATE


def test_each_clip_is_set_to_the_requested_level(speech: np.ndarray, rng: np.random.Generator) -> None:
    stream = compose_stream([speech, speech * 0.1], rng, gap_s=(0.5, 0.5), level_db=(-25.0, -25.0), lead_s=0.0)
    for start in (0, len(speech) + 8_000):
        assert to_db(active_rms(stream[start : start + len(speech)])) == pytest.approx(-25.0, abs=0.2)


def test_no_clips_give_silence(rng: np.random.Generator) -> None:
    stream = compose_stream([], rng, lead_s=0.5, tail_s=0.25)
    assert len(stream) == 12_000
    assert not stream.any()


def test_surround_returns_the_position_of_the_phrase(speech: np.ndarray, rng: np.random.Generator) -> None:
    phrase = speech[4_000:20_000]
    for before, after in (
        (speech, speech),
        (None, speech[:3_000]),
        (speech[:3_000], None),
        (None, None),
        (speech[:0], None),
    ):
        stream, start, end = surround(phrase, before, after, rng)
        assert end - start == len(phrase)
        assert start >= (len(before) if before is not None else 0)
        assert len(stream) - end >= (len(after) if after is not None else 0)
        inside = stream[start + FADE : end - FADE]
        assert np.corrcoef(inside, phrase[FADE : len(phrase) - FADE])[0, 1] > 0.9999
    stream, start, end = surround(phrase, phrase[:0], None, rng)
    assert (start, end, len(stream)) == (0, len(phrase), len(phrase))
