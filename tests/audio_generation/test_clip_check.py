"""The host's check of a file against its text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_generation.clip_check import check_clip, spectral_flatness


def tone(seconds: float, rate: int = 16_000, level: float = 0.3) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2


def judged(path: Path, audio: np.ndarray, text: str, rate: int = 16_000) -> str:
    soundfile.write(path, audio, rate, subtype="FLOAT")
    return check_clip(path, text).problem


def test_a_plausible_clip_passes_with_its_rate_and_duration(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.5, 22_050), 22_050)
    facts = check_clip(tmp_path / "a.wav", "hey compass")
    assert (facts.problem, facts.sample_rate) == ("", 22_050) and facts.duration_s == pytest.approx(1.5)


def test_each_kind_of_unusable_clip_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.wav"
    assert "silent" in judged(path, np.zeros(16_000), "hello")
    assert "silent" in judged(path, np.full(16_000, 0.4), "hello")
    assert "silent" in judged(path, tone(1.0, level=0.002), "hello")
    assert "noise" in judged(path, 0.1 * rng.standard_normal(16_000), "hello")
    assert "noise" in judged(path, 0.1 * rng.standard_normal(2_000), "a")
    assert "clipped" in judged(path, np.sign(tone(1.0)), "hello")
    assert "not numbers" in judged(path, np.full(16_000, np.inf), "hello")
    assert "too short" in judged(path, tone(0.3), "this is a rather long sentence for three tenths of a second")
    assert "too long" in judged(path, tone(9.0), "hello")
    assert "empty" in judged(path, np.zeros(0), "hello")
    assert "no readable" in check_clip(tmp_path / "nosuch.wav", "hello").problem
    (tmp_path / "paper.wav").write_bytes(b"%PDF-1.4 this is no audio")
    assert "no readable" in check_clip(tmp_path / "paper.wav", "hello").problem


def test_spectral_flatness_is_one_for_noise_and_zero_for_a_tone() -> None:
    rng = np.random.default_rng(0)
    assert spectral_flatness(rng.standard_normal((20, 800))) > 0.9
    assert spectral_flatness(tone(1.0).reshape(20, 800)) < 0.01
