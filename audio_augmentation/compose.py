"""Composition of clips into longer streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audio_augmentation.gain_speed import active_rms, limit_peak, set_level, to_db
from core.audio_file import SAMPLE_RATE

FADE = SAMPLE_RATE // 200  # samples (5 ms) of fade at a clip's edges, to prevent clicks
PAUSE_S = (0.0, 0.4)  # seconds between a phrase and other speech by the same speaker
NEIGHBOUR_DB = 3.0  # maximum level difference between that speech and the phrase


def compose_stream(
    clips: Sequence[np.ndarray],
    rng: np.random.Generator,
    gap_s: tuple[float, float] = (0.2, 1.5),
    lead_s: float = 0.5,
    tail_s: float = 0.5,
    level_db: tuple[float, float] | None = None,
) -> np.ndarray:
    """Join clips with random gaps into a stream [samples].

    Args:
        clips: audio [samples] each; may be empty.
        gap_s: minimum and maximum gap between clips, seconds.
        lead_s, tail_s: silence before the first and after the last clip, seconds.
        level_db: each clip's active level is drawn from this range of dBFS; None leaves the levels unchanged.
    """
    parts: list[np.ndarray] = []
    for number, clip in enumerate(clips):
        gap = round((rng.uniform(*gap_s) if number else lead_s) * SAMPLE_RATE)
        audio = clip if level_db is None else set_level(clip, rng.uniform(*level_db))
        parts += [np.zeros(gap, dtype=np.float32), _faded(audio)]
    if not len(clips):
        parts.append(np.zeros(round(lead_s * SAMPLE_RATE), dtype=np.float32))
    parts.append(np.zeros(round(tail_s * SAMPLE_RATE), dtype=np.float32))
    return limit_peak(np.concatenate(parts))


def surround(
    phrase: np.ndarray, before: np.ndarray | None, after: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, int, int]:
    """Place a phrase between other speech by the same speaker.

    Args:
        phrase: the phrase [samples], without surrounding silence.
        before, after: other speech, or None for no speech on that side.

    Returns:
        The stream [samples], and the samples at which the phrase starts and ends in it.
    """
    level = to_db(active_rms(phrase))

    def neighbour(speech: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if speech is None or not len(speech):
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE), dtype=np.float32)
        difference_db = rng.uniform(-NEIGHBOUR_DB, NEIGHBOUR_DB)
        return _faded(set_level(speech, level + difference_db)), pause

    speech_before, pause_before = neighbour(before)
    speech_after, pause_after = neighbour(after)
    stream = np.concatenate([speech_before, pause_before, _faded(phrase), pause_after, speech_after])
    start = len(speech_before) + len(pause_before)
    return limit_peak(stream), start, start + len(phrase)


def _faded(audio: np.ndarray) -> np.ndarray:
    """Return a copy with 5 ms of fade at both ends (shorter for very short audio)."""
    faded = audio.astype(np.float32)
    fade = min(FADE, len(faded) // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        faded[:fade] *= ramp
        faded[len(faded) - fade :] *= ramp[::-1]
    return faded
