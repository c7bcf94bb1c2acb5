from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from scipy import signal

from audio_augmentation import gain_speed
from audio_augmentation.augment import AugmentationConfig, Augmenter
from core.audio_file import SAMPLE_RATE

OFF = AugmentationConfig(**{field.name: 0.0 for field in fields(AugmentationConfig) if field.name.endswith("_share")})
STEPS = {
    "speed": {"speed_share": 1.0},
    "tempo": {"tempo_share": 1.0},
    "talker": {"talker_equalizer_share": 1.0},
    "room": {"room_share": 1.0},
    "noise": {"noise_share": 1.0, "usual_snr_share": 1.0, "usual_snr_db": (15.0, 25.0)},
    "microphone": {"equalizer_share": 1.0, "microphone_share": 1.0},
    "overload": {"overload_share": 1.0},
    "telephone": {"telephone_share": 1.0},
    "opus": {"opus_share": 1.0, "opus_bitrates": (24_000,)},
}
EVERYTHING = replace(OFF, **{name: value for step in STEPS.values() for name, value in step.items()})


class Hiss:
    def draw(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        return (0.05 * rng.standard_normal(samples)).astype(np.float32)


@pytest.fixture
def augmenter(rooms: list[np.ndarray], speech: np.ndarray) -> Augmenter:
    return Augmenter(AugmentationConfig(), Hiss(), rooms, [speech[::-1].copy()])


def burst(seconds: float, at: int) -> np.ndarray:
    """A 20 ms chirp that begins at sample ``at``; it survives filters, rooms and codecs well enough to be found."""
    audio = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    t = np.arange(320) / SAMPLE_RATE
    audio[at : at + 320] = 0.5 * np.sin(2 * np.pi * (500 * t + 60_000 * t * t)) * np.hanning(320)
    return audio


def found_at(audio: np.ndarray) -> int:
    """Return where the matched filter first comes near its maximum: echoes can be louder than the direct sound."""
    template = burst(0.02, 0)
    matched = signal.correlate(audio, template, mode="valid")
    envelope = np.abs(signal.hilbert(matched))
    return int(np.argmax(envelope >= 0.55 * envelope.max()))


@pytest.mark.parametrize("step", [*STEPS, "everything but tempo"])
def test_every_step_updates_the_position(step: str, rooms: list[np.ndarray]) -> None:
    config = (
        replace(EVERYTHING, tempo_share=0.0, telephone_share=0.0) if step not in STEPS else replace(OFF, **STEPS[step])
    )
    # Rooms with a near talker: with a distant one, coinciding echoes are much louder.
    near = [room for room in rooms if np.abs(room[124:]).max() < 0.4]
    assert near
    chain = Augmenter(config, Hiss(), near)
    tolerance = {"tempo": 0.011, "everything but tempo": 0.006}.get(step, 0.004) * SAMPLE_RATE
    for seed in range(12):
        at = 8_000 + 1_000 * seed
        audio, (position,) = chain.apply_with_positions(burst(2.0, at), [at], np.random.default_rng(seed))
        assert abs(found_at(audio) - position) <= tolerance, (step, seed)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_the_audio_and_keeps_its_length(
    step: str, speech: np.ndarray, rooms: list[np.ndarray]
) -> None:
    plain = Augmenter(OFF)(speech, np.random.default_rng(0))
    audio = Augmenter(replace(OFF, **STEPS[step]), None, rooms)(speech, np.random.default_rng(0))
    if step in ("speed", "tempo"):
        assert len(audio) != len(speech)
    else:
        assert len(audio) == len(speech)
        assert np.corrcoef(audio, plain)[0, 1] < 0.9999


def test_the_same_generator_gives_the_same_audio(augmenter: Augmenter, speech: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(augmenter))
    results = []
    for seed in range(15):
        first = augmenter(speech, np.random.default_rng(seed))
        np.testing.assert_array_equal(first, augmenter(speech, np.random.default_rng(seed)))
        np.testing.assert_array_equal(first, copy(speech, np.random.default_rng(seed)))
        with_position, _ = augmenter.apply_with_positions(speech, [100], np.random.default_rng(seed))
        np.testing.assert_array_equal(first, with_position)
        results.append(first.tobytes())
    assert len(set(results)) == len(results)


def test_the_input_is_not_changed(augmenter: Augmenter, speech: np.ndarray, rng: np.random.Generator) -> None:
    before = speech.copy()
    for _ in range(30):
        augmenter(speech, rng)
    np.testing.assert_array_equal(speech, before)


def test_positions_scale_with_the_length(augmenter: Augmenter, speech: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(40):
        audio, (start, middle, end) = augmenter.apply_with_positions(speech, (0, len(speech) // 2, len(speech)), rng)
        assert (start, end) == (0, len(audio))
        assert abs(middle - len(audio) / 2) <= 1
        assert len(speech) / (1.15 * 1.15) - 2 <= len(audio) <= len(speech) / (0.85 * 0.9) + 2


def test_levels_are_within_their_range(augmenter: Augmenter, speech: np.ndarray, rng: np.random.Generator) -> None:
    levels = []
    for _ in range(150):
        audio = augmenter(speech, rng)
        levels.append(gain_speed.to_db(gain_speed.active_rms(audio)))
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 1.0
    assert min(levels) >= -45.1
    assert max(levels) <= -14.9
    assert np.ptp(levels) > 20


def test_digital_silence_is_filled_with_noise(rooms: list[np.ndarray], speech: np.ndarray) -> None:
    for seed in range(20):
        audio = Augmenter(rooms=rooms)(np.pad(speech, (0, 16_000)), np.random.default_rng(seed))
        assert np.count_nonzero(audio[-8_000:]) > 4_000


@settings(max_examples=60, deadline=None)
@given(
    audio=np_st.arrays(
        np.float32,
        st.one_of(st.sampled_from([0, 1, 2, 3, 159, 320, 799, 800, 801]), st.integers(0, 3_000)),
        elements=st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf")])),
        fill=st.floats(-1, 1, width=32),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_input_gives_finite_output_in_range(rooms: list[np.ndarray], audio: np.ndarray, seed: int) -> None:
    for config in (AugmentationConfig(), EVERYTHING):
        chain = Augmenter(config, None, rooms[:3])
        result, (position,) = chain.apply_with_positions(audio, [len(audio)], np.random.default_rng(seed))
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert np.abs(result).max(initial=0.0) <= 1.0
        assert position == len(result)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [0.0, 1e-44, 1e-30, 1e-7, 1e-5, 1.0])
def test_silent_tiny_and_full_scale_audio_stays_finite(
    augmenter: Augmenter, level: float, rng: np.random.Generator
) -> None:
    for _ in range(60):
        audio = augmenter(np.full(8_000, level, dtype=np.float32) * (np.arange(8_000) % 2), rng)
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 1.0


def test_integers_become_float32_and_two_channels_are_rejected(augmenter: Augmenter, rng: np.random.Generator) -> None:
    assert augmenter(np.zeros(500, dtype=np.int16), rng).dtype == np.float32
    with pytest.raises(ValueError, match="shape"):
        augmenter(np.zeros((2, 500)), rng)


def test_recorded_noise_and_voices_are_used_when_given(speech: np.ndarray) -> None:
    class Counted(Hiss):
        draws = 0

        def draw(self, samples: int, rng: np.random.Generator) -> np.ndarray:
            self.draws += 1
            return super().draw(samples, rng)

    source = Counted()
    chain = Augmenter(replace(OFF, noise_share=1.0, library_share=1.0), source)
    for seed in range(5):
        chain(speech, np.random.default_rng(seed))
    assert source.draws == 5
