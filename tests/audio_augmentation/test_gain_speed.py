from __future__ import annotations

import numpy as np
import pytest

from audio_augmentation import gain_speed
from audio_augmentation.gain_speed import (
    active_rms,
    apply_gain,
    change_speed,
    change_tempo,
    change_voice,
    limit_peak,
    overload,
    rms,
    set_level,
    to_db,
)
from core.audio_file import SAMPLE_RATE
from tests.support import sounds


def loudest_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(audio))


def centre(audio: np.ndarray) -> float:
    energy = np.square(audio.astype(np.float64))
    return float((energy * np.arange(len(audio))).sum() / energy.sum())


@pytest.fixture
def tone() -> np.ndarray:
    return sounds.tone(2.0, level=0.5)


@pytest.mark.parametrize("gain_db", [-24.0, -6.0, 0.0, 5.0])
def test_the_requested_gain_is_applied(tone: np.ndarray, gain_db: float) -> None:
    assert to_db(rms(apply_gain(tone, gain_db))) - to_db(rms(tone)) == pytest.approx(gain_db, abs=1e-3)


def test_gain_stops_at_full_scale_without_clipping(tone: np.ndarray) -> None:
    loud = apply_gain(tone, 40.0)
    assert np.abs(loud).max() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(loud, tone / np.abs(tone).max(), atol=1e-5)


@pytest.mark.parametrize("level_db", [-45.0, -30.0, -18.0])
def test_surrounding_silence_does_not_affect_the_level(speech: np.ndarray, level_db: float) -> None:
    for audio in (speech, np.pad(speech, (0, 100_000))):
        assert to_db(active_rms(set_level(audio, level_db))) == pytest.approx(level_db, abs=0.05)


def test_the_level_of_a_steady_sound_is_its_rms(tone: np.ndarray) -> None:
    assert active_rms(tone) == pytest.approx(rms(tone), rel=1e-3)
    assert active_rms(np.pad(tone, (0, 64_000))) == pytest.approx(rms(tone), rel=1e-2)


def test_overload_flattens_peaks_and_stays_in_range(speech: np.ndarray) -> None:
    driven = overload(speech, 18.0)
    assert np.abs(driven).max() <= 1.0
    assert np.abs(driven).max() / rms(driven) < np.abs(speech).max() / rms(speech)


@pytest.mark.parametrize("factor", [0.75, 0.85, 0.9131, 1.0, 1.0731, 1.15, 1.25, 2.0])
def test_speed_changes_length_and_pitch_but_tempo_keeps_the_pitch(tone: np.ndarray, factor: float) -> None:
    for change, hertz, tolerance in ((change_speed, 440 * factor, 1.5), (change_tempo, 440, 2.0)):
        faster = change(tone, factor)
        assert len(faster) == round(len(tone) / factor)
        assert loudest_hz(faster) == pytest.approx(hertz, abs=tolerance)
    assert rms(faster) == pytest.approx(rms(tone), rel=0.05)


@pytest.mark.parametrize("factor", [0.85, 1.15])
@pytest.mark.parametrize("change", [change_speed, change_tempo])
def test_sounds_move_in_proportion_to_the_speed(click: np.ndarray, change, factor: float) -> None:  # type: ignore[no-untyped-def]
    tolerance = 2.0 if change is change_speed else 0.011 * SAMPLE_RATE
    assert abs(centre(change(click, factor)) - centre(click) / factor) <= tolerance


def test_voice_changes_pitch_and_keeps_length(tone: np.ndarray) -> None:
    higher = change_voice(tone, 1.2)
    assert len(higher) == len(tone)
    assert loudest_hz(higher) == pytest.approx(528, abs=3.0)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 159, 799, 801])
def test_short_and_empty_audio_is_processed(length: int, rng: np.random.Generator) -> None:
    audio = rng.uniform(-1, 1, length).astype(np.float32)
    for factor in (0.85, 1.0, 1.2):
        for change in (change_speed, change_tempo):
            changed = change(audio, factor)
            assert len(changed) == round(length / factor)
            assert np.isfinite(changed).all()
            assert np.abs(changed).max(initial=0.0) <= 1.0
    assert len(change_voice(audio, 1.1)) == length
    for function in (
        limit_peak,
        lambda a: overload(a, 6.0),
        lambda a: set_level(a, -20.0),
        lambda a: apply_gain(a, 3.0),
    ):
        assert len(function(audio)) == length


def test_silence_stays_silent_and_a_factor_of_zero_is_rejected() -> None:
    silence = np.zeros(4_000, dtype=np.float32)
    assert not set_level(silence, -20.0).any()
    assert not overload(silence, 6.0).any()
    assert not change_tempo(silence, 0.9).any()
    assert to_db(rms(silence)) == gain_speed.SILENCE_DB
    for change in (change_speed, change_tempo):
        with pytest.raises(ValueError, match="not above 0"):
            change(silence, 0.0)
