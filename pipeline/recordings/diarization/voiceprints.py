"""Voices that a user stores by name, with the speakers' consent, in ``<user data>/voices.json``.

A voice is an embedding [256] that resemblyzer's encoder computes from speech. It identifies the speaker, not the words,
and is personal data: it is never stored without consent, and forgetting it deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.user_file import UserFile
from core.worded import worded
from pipeline.recordings.diarization.acoustic import embed
from pipeline.recordings.diarization.clustering import unit
from pipeline.recordings.files.media import open_normalized, read_part
from pipeline.speech_service import client as speech_client

FILE = "voices.json"  # in a user's data folder
DIMENSIONS = 256
# Minimum cosine of two equal voices. Of 18 people of LibriSpeech, each with three clips of 12 s, it was at least 0.76
# for the same person (19 in 20 above 0.87), and at most 0.76 for different people.
SAME_PERSON = 0.82
MIN_SPEECH_S = 4.0  # minimum seconds of speech for storing a voice
MAX_SPEECH_S = 60.0  # seconds; more speech does not improve a voice

Voices = dict[str, dict[str, Any]]  # by name


def _checked(content: Any) -> Voices:
    for voice in content.values():
        if len(voice["embedding"]) != DIMENSIONS or int(voice["times"]) < 1:
            raise ValueError("a voice of a different kind")
    return dict(content)


_VOICES: UserFile[Voices] = UserFile(
    "voices", worded("The file of remembered voices"), worded("remembering the voice"), _checked, dict
)


def voice_of(audio_file: Path, spans: Iterable[tuple[float, float]], channel: int | None = None) -> np.ndarray:
    """Join a speaker's (start, end) seconds of a normalized recording: float32 [samples] at 16 kHz.

    The longest spans come first, until :data:`MAX_SPEECH_S` is reached. ``channel`` is 0 (left) or 1 (right) if a
    channel is a person, None for a mix of all. Raises HarkError if the recording cannot be read.
    """
    parts: list[np.ndarray] = []
    left_s = MAX_SPEECH_S
    with open_normalized(audio_file) as recording:
        for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
            if left_s <= 0:
                break
            block = read_part(recording, start, start + min(left_s, max(0.0, end - start)))
            parts.append(block.mean(axis=1) if channel is None else block[:, min(channel, block.shape[1] - 1)])
            left_s -= len(block) / SAMPLE_RATE
    return np.concatenate([np.zeros(0, np.float32), *parts])


def remember(file: Path, name: str, audio: np.ndarray, *, consent: bool) -> None:
    """Store the voice in ``audio`` (float32 [samples] at 16 kHz, of only that person) under a name.

    For a known name, the mean of its recordings is stored. Raises HarkError if consent or name is missing, there is too
    little speech, or the file cannot be read or written.
    """
    if not consent:
        raise HarkError(
            worded("The voice was not remembered."),
            worded("The person has not consented."),
            worded("Ask them; if they agree, confirm it and try again."),
        )
    name = " ".join(name.split())
    if not name:
        raise HarkError(
            worded("The voice has no name."),
            worded("The name is empty."),
            worded("Enter the name of the speaker."),
        )
    if len(audio) < MIN_SPEECH_S * SAMPLE_RATE:
        raise HarkError(
            worded("There is too little speech to remember this voice."),
            worded(
                "It has %(audio)s s of speech; %(least_speech_s)s s are needed.",
                audio=round(len(audio) / SAMPLE_RATE, 1),
                least_speech_s=round(MIN_SPEECH_S),
            ),
            worded("Remember the voice from a recording with more speech by this person."),
        )
    embedding = np.array(speech_client.call(speech_client.TIMEOUT_S, embed, audio), np.float64)
    with _VOICES.to_change(file) as stored:
        before = stored.get(name)
        times = 0
        if before is not None:
            times = int(before["times"])
            embedding = unit(times * np.array(before["embedding"]) + embedding)
        stored[name] = {
            "embedding": [round(float(value), 6) for value in embedding],
            "times": times + 1,
            "consent": True,
            "remembered_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def match_all(file: Path, embeddings: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, str]:
    """Return names for the speakers of a recording, by speaker id. Each name goes only to its best match."""
    stored = _VOICES.load(file)
    cosines = [
        (float(unit(np.asarray(embedding, np.float64)) @ unit(np.array(voice["embedding"]))), speaker, name)
        for speaker, embedding in embeddings.items()
        for name, voice in stored.items()
    ]
    matches: dict[str, str] = {}
    for cosine, speaker, name in sorted(cosines, reverse=True):
        if cosine >= SAME_PERSON and speaker not in matches and name not in matches.values():
            matches[speaker] = name
    return matches


def names(file: Path) -> list[str]:
    return sorted(_VOICES.load(file))


def forget(file: Path, name: str) -> bool:
    """Delete a voice; return whether it was stored. The file is deleted with the last one."""
    with _VOICES.to_change(file) as stored:
        return stored.pop(name, None) is not None
