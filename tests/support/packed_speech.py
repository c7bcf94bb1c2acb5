"""Packed speech to train acoustic models on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from model.asr.packed import Packed, Utterance, open_pack, pack


def babble(rng: np.random.Generator, seconds: float = 1.5) -> np.ndarray:
    """Return a sound like vowels and fricatives."""
    parts = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        time = np.arange(int(rng.integers(1200, 2600))) / SAMPLE_RATE
        tone = sum(np.sin(2 * np.pi * f * time) for f in rng.uniform(200, 3000, 3))
        parts.append(0.1 * (tone if rng.random() < 0.7 else rng.standard_normal(len(time))))
    return np.concatenate(parts).astype(np.float32)


def packed_of(folder: Path, speakers: int) -> Packed:
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(24):
        write_audio(folder / f"{number}.wav", babble(rng))
        split = "validation" if number % speakers == 1 else "train"
        utterances.append(Utterance(f"{number}.wav", "a", ("ɑ",), str(number % speakers), "babble", True, split))
    pack(utterances, folder, folder / "pack", [babble(rng, 3.0)], [np.ones(1, np.float32)])
    return open_pack(folder / "pack")


TONES = {"s": 3000.0, "m": 300.0, "ɑ": 900.0}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(60):
        phones = tuple(rng.choice(list(TONES), int(rng.integers(2, 5))))
        parts = [np.zeros(1600)]
        for phone in phones:
            time = np.arange(int(rng.integers(1300, 2000))) / 16_000
            parts += [0.3 * np.sin(2 * np.pi * TONES[phone] * rng.uniform(0.95, 1.05) * time), np.zeros(700)]
        write_audio(folder / f"{number}.wav", np.concatenate(parts).astype(np.float32))
        split = "validation" if number >= 52 else "train"
        utterances.append(
            Utterance(f"{number}.wav", "".join(phones).replace("ɑ", "a"), phones, "tone", "tones", True, split)
        )
    (folder / "broken.wav").write_bytes(b"RIFF no audio")
    utterances.append(Utterance("broken.wav", "s", ("s",), "tone", "tones", True, "train"))
    rooms = [np.concatenate([np.ones(1), 0.1 * rng.standard_normal(500)]).astype(np.float32)]
    noise = [(0.05 * rng.standard_normal(8000)).astype(np.float32)]
    assert pack(utterances, folder, folder / "pack", noise, rooms) == 60, "unreadable audio is skipped"
    return open_pack(folder / "pack")
