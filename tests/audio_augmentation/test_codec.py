from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from audio_augmentation import codec
from audio_augmentation.codec import mu_law, opus, telephone
from audio_augmentation.gain_speed import rms
from core.audio_file import SAMPLE_RATE


def lag(after: np.ndarray, before: np.ndarray) -> int:
    return int(np.argmax(signal.correlate(after, before))) - (len(before) - 1)


def band_db(audio: np.ndarray, low: float, high: float) -> float:
    frequencies, power = signal.welch(audio, SAMPLE_RATE, nperseg=1024)
    return float(10 * np.log10(power[(frequencies >= low) & (frequencies <= high)].mean() + 1e-20))


def test_telephone_passes_300_to_3400_hz_only(rng: np.random.Generator) -> None:
    white = (0.1 * rng.standard_normal(64_000)).astype(np.float32)
    heard = telephone(white)
    assert len(heard) == len(white)
    assert abs(lag(heard, white)) <= 1
    inside = band_db(heard, 500, 3000)
    assert inside == pytest.approx(band_db(white, 500, 3000), abs=1.0)
    assert band_db(heard, 0, 120) < inside - 20
    assert band_db(heard, 4300, 8000) < inside - 40


def test_mu_law_quantizes_coarsely_but_stays_close(speech: np.ndarray) -> None:
    coded = mu_law(speech)
    assert len(np.unique(coded)) <= 255
    assert 25 < 20 * np.log10(rms(speech) / rms(coded - speech)) < 45  # G.711 gives about 38 dB
    np.testing.assert_array_equal(mu_law(np.zeros(9)), np.zeros(9))
    assert np.abs(mu_law(np.array([-3.0, -1.0, 1.0, 3.0]))).max() <= 1.0


@pytest.mark.parametrize("bitrate", [6_000, 16_000, 32_000, 64_000])
def test_opus_keeps_length_and_alignment(speech: np.ndarray, bitrate: int) -> None:
    for audio in (speech, speech[: 16_000 + 123]):
        heard = opus(audio, bitrate)
        assert len(heard) == len(audio)
        assert abs(lag(heard, audio)) <= 8  # half a millisecond
        assert np.corrcoef(heard, audio)[0, 1] > 0.7
        assert not np.array_equal(heard, audio)


def test_opus_removes_the_delay_that_some_libsndfile_versions_add(
    speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip = codec._opus_round_trip
    monkeypatch.setattr(
        codec, "_opus_round_trip", lambda audio, bitrate: np.pad(round_trip(audio, bitrate), (104, 0))[: len(audio)]
    )
    codec._opus_delay.cache_clear()
    try:
        heard = opus(speech, 32_000)
        assert abs(codec._opus_delay(32_000) - 104) <= 8
        assert len(heard) == len(speech)
        assert abs(lag(heard, speech)) <= 8
    finally:
        codec._opus_delay.cache_clear()


def test_a_higher_bitrate_is_closer_to_the_original(speech: np.ndarray) -> None:
    errors = [rms(opus(speech, bitrate) - speech) for bitrate in (6_000, 24_000, 128_000)]
    assert errors == sorted(errors, reverse=True)


def test_bitrates_that_opus_lacks_are_rejected(speech: np.ndarray) -> None:
    with pytest.raises(ValueError, match="bit/s"):
        opus(speech, 300)


@pytest.mark.parametrize("length", [0, 1, 2, 100, 319, 321])
def test_codecs_accept_short_and_empty_audio(length: int, rng: np.random.Generator) -> None:
    audio = rng.uniform(-1, 1, length).astype(np.float32)
    for coded in (telephone(audio), opus(audio), mu_law(audio)):
        assert len(coded) == length
        assert coded.dtype == np.float32
        assert np.isfinite(coded).all()
        assert np.abs(coded).max(initial=0.0) <= 1.0
