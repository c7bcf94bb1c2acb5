"""The log-mel: against its plain definition, against torchaudio, at the edges, and as a graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from model.features import (
    F_MAX,
    F_MIN,
    FFT,
    HOP,
    MELS,
    POWER_FLOOR,
    SAMPLE_RATE,
    WINDOW,
    frame_count,
    hann_window,
    hz_to_mel,
    log_mel,
    mel_filterbank,
    mel_to_hz,
)
from model.tiny_crnn import LogMel
from tests.support.sounds import speech


def golden_audio() -> np.ndarray:
    n = np.arange(4000)
    chirp = np.sin(2 * np.pi * n / SAMPLE_RATE * (150 + 1.2 * n))
    return (0.4 * chirp + 0.1 * np.cos(0.9 * n)).astype(np.float32)


def plain_log_mel(audio: np.ndarray) -> np.ndarray:
    """Compute the definition literally, in double precision: a sum of cosines and sines, then triangles."""
    n = np.arange(WINDOW)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW)
    k = np.arange(FFT // 2 + 1)
    waves = np.exp(-2j * np.pi * np.outer(n, k) / FFT)
    centres = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + f / 700) for f in (F_MIN, F_MAX)), MELS + 2) / 2595) - 1)
    rows = []
    for start in range(0, len(audio) - WINDOW + 1, HOP):
        power = np.abs((audio[start : start + WINDOW].astype(np.float64) * window) @ waves) ** 2
        bands = []
        for low, middle, high in zip(centres, centres[1:], centres[2:]):
            frequency = k * SAMPLE_RATE / FFT
            up, down = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
            bands.append((np.clip(np.minimum(up, down), 0, None) * power).sum())
        rows.append(np.log(np.array(bands) + POWER_FLOOR))
    return np.array(rows)


def test_log_mel_matches_the_plain_definition() -> None:
    audio = speech(0.5)
    np.testing.assert_allclose(log_mel(audio), plain_log_mel(audio), atol=2e-3)
    quiet = audio * 1e-3
    np.testing.assert_allclose(log_mel(quiet), plain_log_mel(quiet), atol=2e-3)


def test_log_mel_matches_torchaudio() -> None:
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, f_min=F_MIN, f_max=F_MAX, n_mels=MELS,
        power=2.0, center=False, mel_scale="htk", norm=None,
    )  # fmt: skip
    margin = (FFT - WINDOW) // 2
    for audio in (golden_audio(), speech(1.0)):
        power = transform(torch.nn.functional.pad(torch.from_numpy(audio), (margin, margin)))
        np.testing.assert_allclose(log_mel(audio), torch.log(power + POWER_FLOOR).T.numpy(), atol=2e-3)


@pytest.mark.parametrize("samples", [0, 1, WINDOW - 1, WINDOW, WINDOW + HOP - 1, WINDOW + HOP, 16_000])
def test_only_complete_frames_are_computed(samples: int) -> None:
    audio = np.ones(samples, np.float32)
    assert log_mel(audio).shape == (frame_count(samples), MELS)
    assert frame_count(samples) == len(range(0, samples - WINDOW + 1, HOP))


def test_a_frame_depends_only_on_its_own_samples() -> None:
    audio = speech(0.5)
    before = log_mel(audio)
    for position in (HOP * 20 - 1, HOP * 20 + 1, HOP * 20 + WINDOW - 1, HOP * 20 + WINDOW):
        changed = audio.copy()
        changed[position] += 0.5
        differs = (log_mel(changed) != before).any(axis=1)
        holds = [t for t in range(len(before)) if HOP * t < position < HOP * t + WINDOW]  # the window is 0 at its start
        assert np.flatnonzero(differs).tolist() == holds


def test_padding_the_audio_changes_no_frame() -> None:
    audio = speech(0.5)
    padded = np.concatenate([np.zeros(7 * HOP, np.float32), audio, np.ones(1000, np.float32)])
    expected = log_mel(audio)
    np.testing.assert_allclose(log_mel(padded)[7 : 7 + len(expected)], expected, atol=1e-5)


def test_block_sizes_do_not_change_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = speech(1.0)
    whole = log_mel(audio)
    monkeypatch.setattr("model.features.BLOCK_FRAMES", 7)
    np.testing.assert_allclose(log_mel(audio), whole, atol=1e-5)


def test_silence_is_the_floor_and_loud_audio_is_finite() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32)), np.log(POWER_FLOOR), atol=1e-5)
    assert np.isfinite(log_mel(np.sign(np.sin(np.arange(16_000))))).all()


def test_mel_filters_and_window_match_their_definitions() -> None:
    negatives = mel_filterbank()
    assert negatives.shape == (FFT // 2 + 1, MELS) and negatives.min() >= 0 and 0.5 < negatives.max() <= 1
    assert (negatives.max(axis=0) > 0).all(), "no band is empty"
    frequency = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    heard = frequency[negatives.sum(axis=1) > 0]
    assert heard.min() > F_MIN and heard.max() < F_MAX
    np.testing.assert_allclose(hann_window(), torch.hann_window(WINDOW).numpy(), atol=1e-6)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(np.array([0.0, 440.0, 7600.0]))), [0, 440, 7600], atol=1e-9)


def test_the_graph_computes_the_same_features() -> None:
    for audio in (speech(1.3), golden_audio(), np.zeros(2000, np.float32), speech(1.0) * 1e-4):
        graph = LogMel()(torch.from_numpy(audio)[None])[0].numpy()
        assert graph.shape == log_mel(audio).shape
        np.testing.assert_allclose(graph, log_mel(audio), atol=2e-3)
