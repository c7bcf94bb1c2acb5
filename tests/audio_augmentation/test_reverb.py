from __future__ import annotations

import numpy as np
import pytest

from audio_augmentation import reverb
from audio_augmentation.gain_speed import rms
from audio_augmentation.reverb import direct_path, reverberate, reverberation_time, room_pool, simulate_room, trim_rir
from core.audio_file import SAMPLE_RATE


def decaying_noise(rt60: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (rng.standard_normal(len(t)) * np.exp(-6.91 * t / rt60)).astype(np.float32)


@pytest.mark.parametrize("rt60", [0.15, 0.4, 0.8])
def test_reverberation_time_matches_a_known_decay(rt60: float, rng: np.random.Generator) -> None:
    assert reverberation_time(decaying_noise(rt60, 1.2, rng)) == pytest.approx(rt60, rel=0.05)


def test_reverberation_time_is_zero_without_a_decay() -> None:
    assert reverberation_time(np.zeros(0)) == 0.0
    assert reverberation_time(np.zeros(100)) == 0.0
    assert reverberation_time(np.array([1.0, 0.5])) == 0.0


def test_simulated_rooms_have_reverberation_times_of_homes() -> None:
    rooms = room_pool(40, seed=1)
    times = [reverberation_time(room) for room in rooms]
    assert min(times) >= 0.1
    assert max(times) <= 0.8
    assert max(times) > 2 * min(times)
    for room in rooms:
        assert room.dtype == np.float32
        assert np.isfinite(room).all()
        assert direct_path(room) == reverb.BEFORE_DIRECT
        assert np.abs(room).max() == pytest.approx(1.0)
        assert len(room) <= reverb.MAX_RIR_S * SAMPLE_RATE


def test_the_direct_path_has_the_delay_of_its_distance(rng: np.random.Generator) -> None:
    microphone, talker = np.array([1.0, 1.0, 1.0]), np.array([3.0, 2.0, 1.5])
    rt60 = np.full(7, 0.3)
    rir = reverb._shoebox(np.array([5.0, 4.0, 2.6]), np.full(7, 0.4), microphone, talker, rt60, rng)
    metres = float(np.linalg.norm(talker - microphone))
    assert direct_path(rir) == pytest.approx(metres / 343.0 * SAMPLE_RATE + reverb.SINC_DELAY, abs=1.5)


def test_the_diffuse_tail_follows_the_reflections_without_a_jump() -> None:
    # Averaged over rooms, the level falls steadily: no step where simulated reflections give way to noise.
    rooms = [room for room in room_pool(60, seed=2) if reverberation_time(room) > 0.3]
    levels = np.mean(
        [10 * np.log10(np.square(room[64 : 64 + 3200].reshape(-1, 320)).mean(axis=1) + 1e-12) for room in rooms], axis=0
    )
    steps = np.diff(levels[1:])
    assert steps.max() < 0.5
    assert steps.min() > -6.5


def test_a_larger_pool_extends_a_smaller_one_of_the_same_seed() -> None:
    short, long = room_pool(2, seed=3), room_pool(4, seed=3)
    for a, b in zip(short, long):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(long[0][:1000], long[1][:1000])
    a, b = (simulate_room(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_reverberation_does_not_shift_the_sound(click: np.ndarray, rooms: list[np.ndarray]) -> None:
    burst = np.zeros_like(click)
    burst[SAMPLE_RATE] = 0.5
    for room in [*rooms, np.concatenate([np.zeros(3_000, dtype=np.float32), rooms[0] * 0.01])]:
        wet = reverberate(burst, room)
        assert len(wet) == len(burst)
        loud = np.abs(wet) >= 0.45 * np.abs(wet).max()  # a later echo may be louder than the direct path
        assert abs(int(np.argmax(loud)) - SAMPLE_RATE) <= 2
        assert np.square(wet[: SAMPLE_RATE - 200]).sum() < 1e-3 * np.square(wet).sum()
        assert rms(wet) == pytest.approx(rms(burst), rel=1e-3)


def test_a_room_of_a_single_impulse_changes_nothing(speech: np.ndarray) -> None:
    room = np.zeros(500, dtype=np.float32)
    room[123] = 0.7
    np.testing.assert_allclose(reverberate(speech, room), speech, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 5, 300])
def test_reverberate_accepts_short_empty_and_silent_audio(
    length: int, rooms: list[np.ndarray], rng: np.random.Generator
) -> None:
    for audio in (rng.uniform(-1, 1, length).astype(np.float32), np.zeros(length, dtype=np.float32)):
        for room in (rooms[0], np.zeros(0, dtype=np.float32), np.zeros(10, dtype=np.float32)):
            wet = reverberate(audio, room)
            assert len(wet) == length
            assert np.isfinite(wet).all()
            assert np.abs(wet).max(initial=0.0) <= 1.0


def test_a_response_is_cut_to_its_direct_path(rng: np.random.Generator) -> None:
    room = np.concatenate([np.zeros(2_000, dtype=np.float32), 0.2 * decaying_noise(0.4, 3.0, rng)])
    room[2_000] = 0.9
    trimmed = trim_rir(room)
    assert direct_path(trimmed) == reverb.BEFORE_DIRECT
    assert reverberation_time(trimmed) == pytest.approx(0.4, rel=0.1)
    assert len(trimmed) < 0.6 * SAMPLE_RATE
    assert not len(trim_rir(np.zeros(5)))
