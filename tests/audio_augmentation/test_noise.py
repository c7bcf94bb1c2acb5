from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from audio_augmentation.gain_speed import active_rms, rms, to_db
from audio_augmentation.noise import (
    NoiseLibrary,
    add_noise,
    ambient_noise,
    babble,
    clatter,
    colored_noise,
    hum,
    knocks,
    load_noise_folder,
    random_segment,
    repeat_to,
)
from core.audio_file import SAMPLE_RATE
from core.errors import HarkError


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 25.0])
def test_noise_is_added_at_the_requested_snr(speech: np.ndarray, snr_db: float, rng: np.random.Generator) -> None:
    quiet = speech * np.float32(0.05)
    added = add_noise(quiet, colored_noise(len(quiet), 1.0, rng), snr_db) - quiet
    assert to_db(active_rms(quiet)) - to_db(rms(added)) == pytest.approx(snr_db, abs=0.2)


def test_the_snr_is_preserved_when_the_mix_is_attenuated(speech: np.ndarray, rng: np.random.Generator) -> None:
    hiss = colored_noise(len(speech), 0.0, rng)
    mixed = add_noise(speech / np.abs(speech).max(), hiss, -5.0)
    assert np.abs(mixed).max() <= 1.0
    # Least squares finds how much of each is in the mixture.
    (of_speech, of_noise), *_ = np.linalg.lstsq(np.stack([speech, hiss], axis=1), mixed, rcond=None)
    assert to_db(active_rms(of_speech * speech)) - to_db(rms(of_noise * hiss)) == pytest.approx(-5.0, abs=0.2)


def test_mixing_with_silence_leaves_the_other_signal_unchanged(speech: np.ndarray, rng: np.random.Generator) -> None:
    silence = np.zeros_like(speech)
    np.testing.assert_array_equal(add_noise(speech, silence, 5.0), speech)
    hiss = colored_noise(len(speech), 0.0, rng)
    np.testing.assert_array_equal(add_noise(silence, hiss, 5.0), hiss)
    np.testing.assert_array_equal(add_noise(speech, np.zeros(0, dtype=np.float32), 5.0), speech)
    assert len(add_noise(speech[:0], hiss, 5.0)) == 0
    assert len(add_noise(speech, hiss[:777], 5.0)) == len(speech)


@pytest.mark.parametrize(("exponent", "db_per_octave"), [(0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_coloured_noise_has_the_requested_spectral_slope(
    exponent: float, db_per_octave: float, rng: np.random.Generator
) -> None:
    audio = colored_noise(320_000, exponent, rng)
    frequencies, power = signal.welch(audio, SAMPLE_RATE, nperseg=2048)
    inside = (frequencies > 100) & (frequencies < 7000)
    slope = np.polyfit(np.log2(frequencies[inside]), 10 * np.log10(power[inside]), 1)[0]
    assert slope == pytest.approx(db_per_octave, abs=0.3)
    assert rms(audio) == pytest.approx(0.1, rel=0.01)


def test_ambient_noise_varies_in_spectrum_and_level(rng: np.random.Generator) -> None:
    centroids, swings = [], []
    for _ in range(40):
        audio = ambient_noise(64_000, rng)
        frequencies, power = signal.welch(audio, SAMPLE_RATE, nperseg=1024)
        centroids.append((frequencies * power).sum() / power.sum())
        levels = 10 * np.log10(np.square(audio.reshape(-1, 3200)).mean(axis=1) + 1e-12)
        swings.append(levels.max() - levels.min())
    assert np.percentile(centroids, 90) > 3 * np.percentile(centroids, 10)
    assert np.median(swings) > 4.0


def test_clatter_rings_and_falls_silent(rng: np.random.Generator) -> None:
    crests, tonal = [], []
    for _ in range(30):
        audio = clatter(64_000, rng)
        crests.append(np.abs(audio).max() / rms(audio))
        power = np.sort(np.abs(np.fft.rfft(audio)) ** 2)[::-1]
        tonal.append(power[: len(power) // 50].sum() / power.sum())
    assert np.median(crests) > 4.5, "strokes stand out; Gaussian noise of this length has 4.3"
    assert np.median(tonal) > 0.3, "a few modes have most of the power; in white noise they have 0.1"


def test_hum_consists_of_mains_harmonics(rng: np.random.Generator) -> None:
    audio = hum(160_000, rng)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    on_50 = spectrum[(hz % 50 < 1.5) | (hz % 50 > 48.5)].sum()
    on_60 = spectrum[(hz % 60 < 1.8) | (hz % 60 > 58.2)].sum()
    assert max(on_50, on_60) / spectrum.sum() > 0.95


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 16_001])
@pytest.mark.parametrize("make", [ambient_noise, clatter, hum, knocks, lambda n, rng: colored_noise(n, 1.0, rng)])
def test_generated_noise_has_the_requested_length(make, samples: int) -> None:  # type: ignore[no-untyped-def]
    for seed in range(5):
        audio = make(samples, np.random.default_rng(seed))
        assert len(audio) == samples
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        assert np.abs(audio).max(initial=0.0) <= 1.0
        np.testing.assert_array_equal(audio, make(samples, np.random.default_rng(seed)))


def test_babble_mixes_clips(speech: np.ndarray, rng: np.random.Generator) -> None:
    clips = [speech, speech[:5000], np.zeros(300, dtype=np.float32), speech[:0]]
    for samples in (0, 100, 50_000):
        audio = babble(clips, samples, rng)
        assert len(audio) == samples
        assert np.abs(audio).max(initial=0.0) <= 1.0
    alone = next(seed for seed in range(100) if np.random.default_rng(seed).integers(1, 8) == 1)  # draws one voice
    one = babble([speech], len(speech) // 2, np.random.default_rng(alone))
    likeness = signal.correlate(speech, one) / (np.linalg.norm(one) * rms(speech) * np.sqrt(len(one)))
    assert likeness.max() > 0.8
    with pytest.raises(ValueError, match="needs clips"):
        babble([], 100, rng)


@pytest.fixture
def noise_folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    (tmp_path / "street" / "day").mkdir(parents=True)
    soundfile.write(tmp_path / "short.wav", 0.1 * rng.standard_normal(4_000), SAMPLE_RATE)
    soundfile.write(tmp_path / "street" / "stereo.flac", 0.1 * rng.standard_normal((44_100, 2)), 44_100)
    soundfile.write(tmp_path / "street" / "day" / "long.wav", 0.1 * rng.standard_normal(65 * 8_000), 8_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(9_000), SAMPLE_RATE)
    (tmp_path / "broken.wav").write_bytes(b"%PDF-1.4 not audio at all")
    (tmp_path / "notes.txt").write_text("not audio")
    return tmp_path


def test_segments_come_from_every_audible_file_of_a_noise_folder(noise_folder: Path, rng: np.random.Generator) -> None:
    library = load_noise_folder(noise_folder)
    assert len(library.paths) == 5
    for samples in (1, 8_000, 32_000, 400_000):
        for _ in range(10):
            segment = library.draw(samples, rng)
            assert len(segment) == samples
            assert segment.dtype == np.float32
            assert segment.any()
    read = library._piece.cache_info().misses
    assert read == 7  # each piece once: three of the long file, one of the others


def test_draws_do_not_depend_on_earlier_draws(noise_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, fresh = load_noise_folder(noise_folder), load_noise_folder(noise_folder)
    for seed in range(20):
        used.draw(16_000, np.random.default_rng(seed))
    monkeypatch.setattr("audio_augmentation.noise.CACHED_CHUNKS", 1)
    small = NoiseLibrary(used.paths)
    for seed in (3, 99):
        drawn = [library.draw(16_000, np.random.default_rng(seed)) for library in (used, fresh, small)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        np.testing.assert_array_equal(drawn[0], drawn[2])


def test_a_folder_without_noise_is_rejected(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(HarkError, match="no folder"):
        load_noise_folder(tmp_path / "missing")
    with pytest.raises(HarkError, match="contains no audio"):
        load_noise_folder(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"nonsense")
    with pytest.raises(HarkError, match="No noise file could be read"):
        load_noise_folder(tmp_path).draw(100, rng)


def test_repeated_audio_has_no_jump_at_its_seams(rng: np.random.Generator) -> None:
    tone = np.sin(2 * np.pi * 200.3 * np.arange(5_000) / SAMPLE_RATE).astype(np.float32)
    long = repeat_to(tone, 40_000)
    assert len(long) == 40_000
    np.testing.assert_array_equal(long[:4_800], tone[:4_800])
    assert np.abs(np.diff(long)).max() < 1.5 * np.abs(np.diff(tone)).max()
    for length in (0, 1, 2, 3, 7):
        assert len(repeat_to(np.ones(length, dtype=np.float32), 10)) == 10
        assert len(random_segment(np.ones(length, dtype=np.float32), 10, rng)) == 10
    assert len(random_segment(tone, 100, rng)) == 100
