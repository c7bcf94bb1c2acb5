"""Synthesis of a text from a person's recordings: phones, units, audio, and a file that names its sources."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_augmentation.gain_speed import change_speed, change_tempo
from audio_generation.splice_side.joining import join, sources
from audio_generation.splice_side.selection import NotSpeakable, select
from audio_generation.splice_side.text import wanted_phones
from audio_generation.splice_side.units import UnitTable
from core.audio_file import SAMPLE_RATE

SPEED_RANGE = (0.7, 1.4)
PITCH_RANGE = (0.88, 1.14)  # factors; beyond these, the voice sounds like another person
MAX_TEXT_LENGTH = 300  # maximum phones; about half a minute
MAX_COMMENT_LENGTH = 1900  # characters; libsndfile drops longer ones


@dataclass(frozen=True)
class Spoken:
    """A synthesized clip: its samples float32 at 16 kHz, and its sources, "recording@start-end" in seconds."""

    audio: np.ndarray
    sources: tuple[str, ...]


def speak(table: UnitTable, text: str, language: str, settings: Mapping[str, Any]) -> Spoken:
    """Synthesize a text from a person's recordings.

    Args:
        settings: ``seed`` (chooses among units that are nearly as good), ``speed``, ``pitch`` (factors).

    Raises:
        NotSpeakable: the text is empty or too long, or has a sound that was never recorded.
    """
    phones = wanted_phones(text, language)
    if not phones:
        raise NotSpeakable("the text has nothing to pronounce")
    if len(phones) > MAX_TEXT_LENGTH:
        raise NotSpeakable(f"the text is too long ({len(phones)} phones; at most {MAX_TEXT_LENGTH})")
    rng = np.random.default_rng(int(settings.get("seed", 0)))
    pieces = select(table, phones, rng)
    speed = float(np.clip(float(settings.get("speed", 1.0)), *SPEED_RANGE))
    pitch = float(np.clip(float(settings.get("pitch", 1.0)), *PITCH_RANGE))
    audio = change_speed(change_tempo(join(table, pieces), speed / pitch), pitch)
    return Spoken(audio, tuple(sources(table, pieces)))


def write_clip(path: Path, spoken: Spoken) -> None:
    """Write a 16-bit WAV, whose comment names as many of the sources as fit."""
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", SAMPLE_RATE, 1, subtype="PCM_16", format="WAV") as file:
        file.comment = " ".join(source.replace(" ", "-") for source in spoken.sources)[:MAX_COMMENT_LENGTH]
        file.write(np.clip(spoken.audio, -1.0, 1.0))
    path.write_bytes(encoded.getbuffer())
