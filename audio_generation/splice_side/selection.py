"""Selection of the units of a person's speech for a text.

Units are pairs of segments, from the cut of one to the cut of another; if one follows the other in a recording, the
pair is a recorded *diphone*. Dynamic programming selects a path through one unit for each diphone of the text (unit
selection after Hunt and Black, ICASSP 1996). Each join has a cost, so the longest recorded runs win, whole words and
more if possible. For a diphone that was never recorded, two phones are joined at their border, preferably phones whose
recorded neighbours resemble the wanted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_generation.splice_side.units import NO_WORD, PAUSE, STOPS, UnitTable
from phrase_augmentation.distance import exchange_cost, is_vowel

CANDIDATES = 40  # pairs considered per diphone
BORDERS = 14  # segments of each phone considered for a diphone that was never recorded
CONTEXT = 4  # number of phones on each side that should match the text too
NEAREST_PHONE = 0.4  # maximum exchange cost at which a phone may replace one that was never recorded
LIKE_PAIR = 0.36  # maximum exchange cost at which a pair of phones may replace one that was never recorded

# Costs. A join of average similarity costs JOIN + 1.
JOIN = 1.0
OTHER_CONTEXT = 0.35  # per different phone of the context; near ones cost more
OTHER_STRESS = 0.5
OTHER_WORD_EDGE = 0.25
OTHER_WORD = 0.3
BAD_UNIT = 2.0  # factor of the segment's own cost
OTHER_PHONE = 6.0  # factor of the exchange cost
NEW_JOIN_COST = 3.0  # per join at the border of two phones
PITCH = 2.5  # per octave
LOUDNESS = 0.06  # per dB
VARIETY = 0.5  # maximum random cost of a unit, which makes clips differ by seed
# Joins are least audible in closures and noise, and most audible where formants move.
JOIN_WEIGHT = {PAUSE: 0.15, **dict.fromkeys(STOPS, 0.45), **dict.fromkeys(("s", "ʃ", "f", "θ", "z", "ʒ", "v"), 0.6)}
JOIN_WEIGHT |= {**dict.fromkeys(("m", "n", "ŋ", "ð", "h"), 0.85), **dict.fromkeys(("ɹ", "l", "w", "j"), 1.6)}
VOWEL_WEIGHT, DIPHTHONG_WEIGHT = 1.0, 1.4


class NotSpeakable(Exception):
    """Raised if the text requires something that the person's recordings lack. The message names it."""


@dataclass(frozen=True)
class Wanted:
    """A phone of the text, or a pause (label ""). ``word`` is the word that contains it; None for pauses."""

    label: str
    word: str | None = None
    ends_word: bool = False
    stressed: bool = False


@dataclass(frozen=True)
class Unit:
    """A unit, from the cut of segment ``left`` to the cut of ``right``, which is ``left + 1`` in a recorded diphone."""

    left: int
    right: int


@dataclass(frozen=True)
class Run:
    """Segments ``first`` to ``last`` of a recording, from the cut of the first to the cut of the last.

    With ``after_border``, the previous run extends to the end of its last segment and this one begins at the start of
    its first, so they join at the border of two phones. A run of one segment is half a phone.
    """

    first: int
    last: int
    after_border: bool


@dataclass(frozen=True)
class _Column:
    """The candidates for one diphone: segments [candidates], and the cost of each on its own."""

    left: np.ndarray
    right: np.ndarray
    cost: np.ndarray


def join_weight(label: str) -> float:
    """Return how audible a join within that phone is."""
    if is_vowel(label):
        return DIPHTHONG_WEIGHT if len(label) > 1 else VOWEL_WEIGHT
    return JOIN_WEIGHT.get(label, 1.0)


def select(table: UnitTable, text: Sequence[Wanted], rng: np.random.Generator) -> list[Unit]:
    """Return the units for a text, one per pair of neighbouring phones.

    Args:
        text: begins and ends with a pause, and has at least one phone.
        rng: chooses among units that are nearly as good.

    Raises:
        NotSpeakable: neither a phone nor a similar one was recorded.
    """
    index = {label: number for number, label in enumerate(table.labels)}
    wanted = np.array([_label(phone, index) for phone in text])
    columns = [_column(table, text, wanted, place, rng) for place in range(len(text) - 1)]
    best = columns[0].cost
    came_from: list[np.ndarray] = []
    for place in range(1, len(columns)):
        before, after = columns[place - 1], columns[place]
        step = best[:, None] + join_costs(table, before.right, after.left, join_weight(text[place].label))
        way = step.argmin(axis=0)
        came_from.append(way)
        best = step[way, np.arange(len(way))] + after.cost
    at = int(best.argmin())
    path = [at]
    for way in reversed(came_from):
        at = int(way[at])
        path.append(at)
    return [Unit(int(c.left[i]), int(c.right[i])) for c, i in zip(columns, reversed(path))]


def join_costs(table: UnitTable, left: np.ndarray, right: np.ndarray, weight: float) -> np.ndarray:
    """Return the costs of joining segments at their cuts, [left, right]; 0 for the same segment."""
    sound = table.sound[left][:, None] - table.sound[right][None]
    spectral = np.sqrt(np.mean(sound**2, axis=2) / 2)
    pitch = np.abs(table.pitch[left][:, None] - table.pitch[right][None])
    one_voiced = np.isnan(table.pitch[left])[:, None] != np.isnan(table.pitch[right])[None]
    pitch = np.where(np.isnan(pitch), np.where(one_voiced, 0.3, 0.0), np.minimum(pitch, 0.8))
    loudness = np.minimum(np.abs(table.loudness[left][:, None] - table.loudness[right][None]), 20.0)
    cost = weight * (JOIN + spectral + PITCH * pitch + LOUDNESS * loudness)
    return np.where(left[:, None] == right[None], 0.0, cost)


def runs(units: Sequence[Unit]) -> list[Run]:
    """Return the runs that remain as recorded, in order. Joins are between them."""
    result: list[Run] = []
    for piece in units:
        goes_on = bool(result) and result[-1].last == piece.left
        begun = result.pop() if goes_on else Run(piece.left, piece.left, False)
        if piece.right == piece.left + 1:
            result.append(Run(begun.first, piece.right, begun.after_border))
        else:
            result += [begun, Run(piece.right, piece.right, True)]
    return result


def _label(wanted: Wanted, index: dict[str, int]) -> int:
    """Return the person's label for a phone of the text: the same, or the nearest."""
    if wanted.label in index:
        return index[wanted.label]
    cost, label = min(
        ((exchange_cost(wanted.label, label), label) for label in index if label != PAUSE), default=(np.inf, "")
    )
    if cost > NEAREST_PHONE:
        raise NotSpeakable(f"the recordings of this voice have no sound similar to {wanted.label!r} in {wanted.word!r}")
    return index[label]


def _column(
    table: UnitTable, text: Sequence[Wanted], wanted: np.ndarray, place: int, rng: np.random.Generator
) -> _Column:
    first, second = int(wanted[place]), int(wanted[place + 1])
    parts = []
    for (left, right), unlike in _like_pairs(table, first, second):
        pairs = table.diphones[left, right]
        cost = _unit_costs(table, text[place], pairs) + _unit_costs(table, text[place + 1], pairs + 1)
        cost += _context_cost(table, wanted, place, pairs)
        between = text[place].ends_word
        cost += OTHER_WORD_EDGE * (table.ends_word[pairs] != between)
        if text[place].word is not None and not between:
            known = table.words.index(text[place].word or "") if text[place].word in table.words else NO_WORD - 1
            cost += OTHER_WORD * (table.word[pairs] != known)
        parts.append((pairs, cost + OTHER_PHONE * unlike + rng.uniform(0, VARIETY, len(pairs))))
    if not parts:
        return _borders(table, text, wanted, place, rng)
    pairs, cost = (np.concatenate(columns) for columns in zip(*parts))
    best = np.argsort(cost, kind="stable")[:CANDIDATES]
    column = _Column(pairs[best], pairs[best] + 1, cost[best])
    if (first, second) in table.diphones:
        return column
    borders = _borders(table, text, wanted, place, rng)
    return _Column(*(np.concatenate(columns) for columns in zip(_rows(column), _rows(borders))))


def _rows(column: _Column) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return column.left, column.right, column.cost


def _like_pairs(table: UnitTable, first: int, second: int) -> list[tuple[tuple[int, int], float]]:
    """Return the pair itself if it was recorded; otherwise the most similar recorded pairs, with their costs."""
    if (first, second) in table.diphones:
        return [((first, second), 0.0)]
    a, b = table.labels[first], table.labels[second]
    near = []
    for left, right in table.diphones:
        unlike = _unlike(a, table.labels[left]) + _unlike(b, table.labels[right])
        if unlike <= LIKE_PAIR:
            near.append(((left, right), unlike))
    return near


def _unit_costs(table: UnitTable, wanted: Wanted, segments: np.ndarray) -> np.ndarray:
    """Return half the cost of using each segment as ``wanted``: each segment is part of two diphones."""
    cost = BAD_UNIT * table.cost[segments]
    if is_vowel(wanted.label):
        cost = cost + OTHER_STRESS * (table.stressed[segments] != wanted.stressed)
    return 0.5 * cost


def _context_cost(table: UnitTable, wanted: np.ndarray, place: int, pairs: np.ndarray) -> np.ndarray:
    """Return the cost of phones around a diphone that differ from the text; the nearest ones cost most."""
    cost = np.zeros(len(pairs))
    for sign, origin in ((-1, 0), (1, 1)):
        alike = np.ones(len(pairs), bool)
        for distance in range(1, CONTEXT + 1):
            at = place + origin + sign * distance
            if not 0 <= at < len(wanted):
                break
            segments = pairs + origin + sign * distance
            inside = (segments >= 0) & (segments < len(table.label))
            segments = np.clip(segments, 0, len(table.label) - 1)
            alike &= (
                inside & (table.label[segments] == wanted[at]) & (table.recording[segments] == table.recording[pairs])
            )
            cost += OTHER_CONTEXT / distance * ~alike
    return cost


def _borders(
    table: UnitTable, text: Sequence[Wanted], wanted: np.ndarray, place: int, rng: np.random.Generator
) -> _Column:
    """Pair phones that were not recorded together, but had neighbours that resemble each other."""
    sides = []
    for side in (0, 1):
        segments = table.of_label[int(wanted[place + side])]
        beside = segments + (1 if side == 0 else -1)
        same = (beside >= 0) & (beside < len(table.label))
        beside = np.clip(beside, 0, len(table.label) - 1)
        same &= table.recording[beside] == table.recording[segments]
        other = table.labels[int(wanted[place + 1 - side])]
        unlike = np.array([_unlike(other, label) for label in table.labels])
        cost = np.where(same, unlike[table.label[beside]], 1.2) + _unit_costs(table, text[place + side], segments)
        cost = cost + rng.uniform(0, VARIETY, len(segments))
        best = np.argsort(cost, kind="stable")[:BORDERS]
        sides.append((segments[best], cost[best]))
    (lefts, left_cost), (rights, right_cost) = sides
    # Levels should agree; spectra cannot, because two phones meet here.
    cost = left_cost[:, None] + right_cost[None] + NEW_JOIN_COST
    left, right = np.meshgrid(lefts, rights, indexing="ij")
    order = np.argsort(cost.ravel(), kind="stable")[:CANDIDATES]
    return _Column(left.ravel()[order], right.ravel()[order], cost.ravel()[order])


def _unlike(wanted: str, label: str) -> float:
    if PAUSE in (wanted, label):
        return 0.0 if wanted == label else 1.0
    return exchange_cost(wanted, label)
