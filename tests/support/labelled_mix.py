"""Conversations with known turns, composed from a corpus with one speaker a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark import manifest_rows
from core.audio_file import SAMPLE_RATE, read_audio
from pipeline.recordings.diarization.turns import Turn

FRAME = SAMPLE_RATE // 100
AUDIBLE_DB = -35.0  # below a recording's loudest 10 ms: no speech in a clean studio recording
BRIDGED_S = 0.3  # a shorter pause is part of a turn
OVERLAP_FRACTION = 0.2  # fraction of speaker changes at which the next begins before the last one ends


@dataclass(frozen=True)
class LabelledMix:
    """``audio``: float32 [samples]; ``turns``: speakers and times, by the levels of the source recordings."""

    audio: np.ndarray
    turns: tuple[Turn, ...]
    speakers: int


def utterances_by_speaker(folder: Path) -> dict[str, list[Path]]:
    """Return the recordings of a corpus with a ``manifest.jsonl`` by speaker. Raises OSError, ValueError, KeyError."""
    found: dict[str, list[Path]] = {}
    for row in manifest_rows(folder):
        found.setdefault(row["speaker"], []).append(folder / row["audio_filepath"])
    return found


def labelled_mix(people: dict[str, list[Path]], speakers: int, seconds: float, rng: np.random.Generator) -> LabelledMix:
    """Let ``speakers`` of the people take turns with whole or part utterances for about ``seconds``.

    Each has a level of their own (6 dB apart at most); a fifth of the changes overlap by 0.3 to 1.5 s; a quiet noise
    lies under all of it, as in a room. Everybody speaks at least once.
    """
    chosen = [str(person) for person in rng.permutation(sorted(people))[:speakers]]
    level = {person: float(rng.uniform(0.5, 1.0)) for person in chosen}
    order = list(chosen)
    pieces: list[tuple[int, np.ndarray]] = []
    turns: list[Turn] = []
    end = int(0.5 * SAMPLE_RATE)
    while order or end < seconds * SAMPLE_RATE:
        last = turns[-1].speaker if turns else ""
        person = order.pop(0) if order else str(rng.choice([one for one in chosen if one != last] or chosen))
        audio = _utterance(people[person], rng)
        gap = -rng.uniform(0.3, 1.5) if turns and rng.random() < OVERLAP_FRACTION else rng.uniform(0.1, 0.9)
        start = max(0, end + int(gap * SAMPLE_RATE))
        pieces.append((start, audio * np.float32(level[person])))
        turns += [Turn(start / SAMPLE_RATE + a, start / SAMPLE_RATE + b, person) for a, b in audible(audio)]
        end = max(end, start + len(audio))
    mixed = rng.normal(0, 10 ** (-60 / 20), end + SAMPLE_RATE // 2).astype(np.float32)
    for start, audio in pieces:
        mixed[start : start + len(audio)] += audio
    turns.sort(key=lambda turn: turn.start_s)
    return LabelledMix(np.clip(mixed, -1, 1), tuple(turns), speakers)


def _utterance(paths: Sequence[Path], rng: np.random.Generator) -> np.ndarray:
    """Return a recording without surrounding silence, at a common level; half of them cut to 1 to 4 s."""
    audio = read_audio(paths[int(rng.integers(len(paths)))])
    spans = audible(audio)
    audio = audio[int(spans[0][0] * SAMPLE_RATE) : int(spans[-1][1] * SAMPLE_RATE)]
    if rng.random() < 0.5:
        length = int(rng.uniform(1, 4) * SAMPLE_RATE)
        start = int(rng.integers(max(1, len(audio) - length)))
        audio = audio[start : start + length]
    return audio * np.float32(0.05 / max(1e-6, float(np.sqrt(np.mean(np.square(audio))))))


def audible(audio: np.ndarray) -> list[tuple[float, float]]:
    """Return (start, end) in seconds of sound above silence, across short pauses; at least one span."""
    frames = np.pad(audio, (0, -len(audio) % FRAME)).reshape(-1, FRAME)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (AUDIBLE_DB / 20))
    if not len(loud):
        return [(0.0, len(audio) / SAMPLE_RATE)]
    breaks = np.flatnonzero(np.diff(loud) > BRIDGED_S * 100)
    firsts = loud[np.r_[0, breaks + 1]]
    lasts = loud[np.r_[breaks, len(loud) - 1]] + 1
    return [(first / 100, min(last / 100, len(audio) / SAMPLE_RATE)) for first, last in zip(firsts, lasts)]
