from __future__ import annotations

import itertools

import numpy as np
import pytest

from audio_augmentation.compose import FADE, compose_stream, surround
from audio_augmentation.gain_speed import active_rms, to_db
from core.audio_file import SAMPLE_RATE


def test_every_clip_is_where_the_spans_say(speech: np.ndarray, rng: np.random.Generator) -> None:
    clips = [speech[:9_000], speech[9_000:10_111], speech[:0], speech]
    stream, spans = compose_stream(clips, rng, gap_s=(0.1, 0.6), lead_s=0.25, tail_s=1.0)
    assert len(spans) == len(clips)
    for clip, (start_s, end_s) in zip(clips, spans):
        start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        assert end - start == len(clip)
        np.testing.assert_allclose(stream[start + FADE : end - FADE], clip[FADE : len(clip) - FADE], atol=1e-6)
    assert spans[0][0] == 0.25
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    assert all(0.1 <= gap <= 0.6 for gap in gaps)
    assert len(stream) == round((spans[-1][1] + 1.0) * SAMPLE_RATE)


def test_levels(speech: np.ndarray, rng: np.random.Generator) -> None:
    stream, spans = compose_stream([speech, speech * 0.1], rng, level_db=(-25.0, -25.0), lead_s=0.0)
    for start_s, end_s in spans:
        level = to_db(active_rms(stream[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]))
        assert level == pytest.approx(-25.0, abs=0.2)


def test_no_clips_give_silence_and_negative_gaps_are_refused(rng: np.random.Generator) -> None:
    stream, spans = compose_stream([], rng, lead_s=0.5, tail_s=0.25)
    assert spans == []
    assert len(stream) == 12_000
    assert not stream.any()
    with pytest.raises(ValueError, match="negative"):
        compose_stream([], rng, gap_s=(-0.1, 0.2))


def test_a_phrase_between_other_speech(speech: np.ndarray, rng: np.random.Generator) -> None:
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
