"""Joining of units from recordings: cutting, levelling and cross-fading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audio_generation.splice_side.selection import Run, Unit, runs
from audio_generation.splice_side.units import PAUSE, UnitTable
from core.audio_file import SAMPLE_RATE

FADE = 160  # samples (10 ms) of a fade between voiced sounds
NOISE_FADE = 96  # samples (6 ms) of other fades, because closures are short
PAUSE_FADE = 320
SEARCH = 96  # samples (6 ms) by which a unit may move to align the periods
LEVEL_WINDOW = 240  # samples (15 ms) on each side of a cut
MAX_LEVELLED_DB = 6.0  # maximum gain; each side of a join gets half
EDGE_FADE = 160


def join(table: UnitTable, units: Sequence[Unit]) -> np.ndarray:
    """Join the units into audio float32 [samples]: recorded runs, with levels matched at the joins."""
    stretches = runs(units)
    sound = np.zeros(0, np.float32)
    gains = _gains(table, stretches)
    for number, stretch in enumerate(stretches):
        source = table.audio[table.recording[stretch.first]]
        begin, end = _bounds(table, stretches, number)
        fade = _fade(table, stretches, number) if number else 0
        after = _fade(table, stretches, number + 1) if number + 1 < len(stretches) else 0
        # The fades consist of recorded audio on both sides of the cuts.
        low = begin - fade // 2
        if fade == FADE:  # only periodic sounds have periods to align
            low += _shift(sound[len(sound) - fade :], source, low, fade)
        high = max(end + after // 2, low + fade + after + 1)
        part = _excerpt(source, low, high)
        part *= 10 ** (np.linspace(*gains[number], len(part)) / 20).astype(np.float32)
        if number:
            rising = _rise(fade)
            part[:fade] = part[:fade] * rising + sound[len(sound) - fade :] * rising[::-1]
            sound = sound[: len(sound) - fade]
        sound = np.concatenate([sound, part])
    edge = min(EDGE_FADE, len(sound) // 2)
    sound[:edge] *= _rise(edge)
    sound[len(sound) - edge :] *= _rise(edge)[::-1]
    peak = float(np.abs(sound).max(initial=0.0))
    return sound / np.float32(peak / 0.95) if peak > 0.95 else sound


def sources(table: UnitTable, units: Sequence[Unit]) -> list[str]:
    """Return "recording@start-end" [seconds] of each run, in order."""
    stretches = runs(units)
    result = []
    for number, stretch in enumerate(stretches):
        begin, end = (sample / SAMPLE_RATE for sample in _bounds(table, stretches, number))
        result.append(f"{table.names[table.recording[stretch.first]]}@{begin:.2f}-{end:.2f}")
    return result


def _rise(samples: int) -> np.ndarray:
    """Return a raised cosine from 0 to 1, which sums to 1 with its mirror image."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / max(1, samples))).astype(np.float32)


def _bounds(table: UnitTable, stretches: Sequence[Run], number: int) -> tuple[int, int]:
    """Return the first and last sample of a run in its recording."""
    stretch = stretches[number]
    begin = table.start[stretch.first] if stretch.after_border else table.cut[stretch.first]
    before_border = number + 1 < len(stretches) and stretches[number + 1].after_border
    end = table.end[stretch.last] if before_border else table.cut[stretch.last]
    return int(begin), max(int(end), int(begin) + 1)


def _fade(table: UnitTable, stretches: Sequence[Run], number: int) -> int:
    """Return the samples of the fade before run ``number``."""
    left, right = stretches[number - 1].last, stretches[number].first
    if table.labels[table.label[left]] == table.labels[table.label[right]] == PAUSE:
        return PAUSE_FADE
    return NOISE_FADE if np.isnan(table.pitch[left]) or np.isnan(table.pitch[right]) else FADE


def _excerpt(source: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return samples of a recording as float32; silence outside of it."""
    before = min(max(0, -low), high - low)
    part = source[max(0, low) : max(0, high)].astype(np.float32) / 32767
    return np.pad(part, (before, high - low - before - len(part)))


def _shift(before: np.ndarray, source: np.ndarray, low: int, fade: int) -> int:
    """Return the shift in samples that aligns a unit with the period at the end of ``before``."""
    region = _excerpt(source, low - SEARCH, low + SEARCH + fade)
    likeness = np.correlate(region, before, mode="valid")
    energy = np.concatenate([[0.0], np.cumsum(np.square(region, dtype=np.float64))])
    loudness = np.sqrt(np.maximum(energy[fade:] - energy[:-fade], 0.0)) + 1e-3
    likeness = likeness / loudness[: len(likeness)]
    likeness -= 1e-4 * np.abs(np.arange(len(likeness)) - SEARCH) * float(np.abs(likeness).max(initial=0.0))
    return int(np.argmax(likeness)) - SEARCH


def _gains(table: UnitTable, stretches: Sequence[Run]) -> list[tuple[float, float]]:
    """Return the gains [dB] at the beginning and end of each run, so that levels at joins meet in the middle."""
    gains = [[0.0, 0.0] for _ in stretches]
    for number in range(1, len(stretches)):
        left, right = stretches[number - 1].last, stretches[number].first
        if stretches[number].after_border or np.isnan(table.pitch[left]) or np.isnan(table.pitch[right]):
            continue
        step = float(np.clip(_level(table, right) - _level(table, left), -MAX_LEVELLED_DB, MAX_LEVELLED_DB))
        gains[number - 1][1] = step / 2
        gains[number][0] = -step / 2
    return [(first, last) for first, last in gains]


def _level(table: UnitTable, segment: int) -> float:
    """Return the level [dB] around a segment's cut."""
    cut = int(table.cut[segment])
    part = _excerpt(table.audio[table.recording[segment]], cut - LEVEL_WINDOW, cut + LEVEL_WINDOW)
    return 10 * float(np.log10(np.mean(part**2) + 1e-7))
