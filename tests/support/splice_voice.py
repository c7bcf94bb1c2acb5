"""A voice for the tests of splice: voiced phones hum, others hiss, each with its own timbre."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np

from audio_generation.splice_side.units import Recording, Word
from core.audio_file import SAMPLE_RATE
from db.records import AlignedUnit
from phrase_augmentation.distance import is_vowel
from phrase_augmentation.phonemes import phonemes_of_words, stressed_vowel

PHONE_S = 0.1
EDGE_S = 0.25
PHASES = 1600  # samples of a phone: all begin in the same phase


@cache
def phone_sound(label: str, pitch_hz: float, phase: int) -> np.ndarray:
    """Return the sound [samples] of one phone. Harmonics begin ``phase`` samples into a period."""
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    count = round(PHONE_S * SAMPLE_RATE)
    if not is_vowel(label) and label not in "mnŋlɹjwvzð":
        return 0.02 * rng.standard_normal(count)
    time = (phase + np.arange(count)) / SAMPLE_RATE
    first, second = rng.uniform(300, 900), rng.uniform(1000, 2600)
    sound = np.zeros(count)
    for number in range(1, int(3500 / pitch_hz)):
        hertz = number * pitch_hz
        level = np.exp(-(((hertz - first) / 200) ** 2)) + 0.5 * np.exp(-(((hertz - second) / 300) ** 2)) + 0.02
        sound += level * np.sin(2 * np.pi * hertz * time)
    return 0.1 * sound


@cache
def sung(text: str, name: str, pitch_hz: float = 120.0) -> Recording:
    """Return a recording of a text with its true phones and words, and a quarter of a second of silence around it."""
    words = text.split()
    edge = round(EDGE_S * SAMPLE_RATE)
    parts = [np.zeros(edge)]
    at = edge
    phones: list[AlignedUnit] = []
    spoken: list[Word] = []
    for word, labels in zip(words, phonemes_of_words(words, "en-us")):
        begin = at
        for label in labels:
            parts.append(phone_sound(label, pitch_hz, at % PHASES))
            end = at + len(parts[-1])
            phones.append(AlignedUnit("phone", label, at / SAMPLE_RATE, end / SAMPLE_RATE, 0.9))
            at = end
        spoken.append(Word(word, begin / SAMPLE_RATE, at / SAMPLE_RATE, stressed_vowel(word, "en-us")))
    sound = np.concatenate([*parts, np.zeros(edge)])
    sound += np.random.default_rng(len(text)).standard_normal(len(sound)) * 1e-4
    return Recording(name, sound.astype(np.float32), tuple(phones), tuple(spoken))
