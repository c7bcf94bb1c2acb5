"""From CTC outputs to symbols, and how wrong they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from model.phones import BLANK


def greedy(log_probabilities: np.ndarray) -> list[int]:
    """The most probable symbol of each frame [time, outputs], repeats and blanks taken out."""
    best = log_probabilities.argmax(axis=-1)
    changed = np.concatenate([[True], best[1:] != best[:-1]]) if len(best) else np.zeros(0, bool)
    return [int(symbol) for symbol in best[changed] if symbol != BLANK]


def prefix_beam(
    log_probabilities: np.ndarray,
    beam: int = 16,
    symbol_floor: float = -6.0,
    bonus: Callable[[tuple[int, ...], int], float] | None = None,
) -> list[int]:
    """The most probable symbols of [time, outputs] summed over all their alignments (Hannun et al. 2014).

    Args:
        beam: prefixes kept a frame.
        symbol_floor: symbols less probable than this (natural logarithm) in a frame are not tried there.
        bonus: ``bonus(prefix, symbol)`` is added to the logarithm when a prefix is extended (a language model).
    """
    none = -np.inf
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, none)}  # ends in blank, ends in a symbol
    for frame in log_probabilities:
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [none, none])
        symbols = np.flatnonzero(frame > symbol_floor)
        if BLANK not in symbols:
            symbols = np.append(symbols, BLANK)
        for prefix, (blank, symbol_end) in beams.items():
            both = np.logaddexp(blank, symbol_end)
            for symbol in map(int, symbols):
                p = float(frame[symbol])
                if symbol == BLANK:
                    entry = grown[prefix]
                    entry[0] = np.logaddexp(entry[0], both + p)
                    continue
                if prefix and symbol == prefix[-1]:
                    entry = grown[prefix]
                    entry[1] = np.logaddexp(entry[1], symbol_end + p)
                    before = blank
                else:
                    before = both
                if before == none:
                    continue
                extra = bonus(prefix, symbol) if bonus else 0.0
                entry = grown[(*prefix, symbol)]
                entry[1] = np.logaddexp(entry[1], before + p + extra)
        ranked = sorted(grown.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1]))[:beam]
        beams = {prefix: (ends[0], ends[1]) for prefix, ends in ranked}
    return list(max(beams.items(), key=lambda item: float(np.logaddexp(*item[1])))[0])


def edit_distance(reference: Sequence[object], hypothesis: Sequence[object]) -> int:
    """Substitutions, insertions and deletions from one sequence to the other (Levenshtein)."""
    row = np.arange(len(hypothesis) + 1)
    codes: dict[object, int] = {}
    target = np.asarray([codes.setdefault(symbol, len(codes)) for symbol in hypothesis], np.int64)
    steps = np.arange(len(hypothesis) + 1)
    for count, symbol in enumerate(reference, 1):
        code = codes.get(symbol, -1)
        best = np.minimum(row[1:] + 1, row[:-1] + (target != code))
        # Insertions run along the row: the least of (value - position) so far, plus the position.
        row = np.minimum.accumulate(np.concatenate([[count], best]) - steps) + steps
    return int(row[-1])


def error_rate(references: Sequence[Sequence[object]], hypotheses: Sequence[Sequence[object]]) -> float:
    """Edits over the symbols of all references: a word, character or phone error rate (NaN without references)."""
    total = sum(len(reference) for reference in references)
    edits = sum(edit_distance(r, h) for r, h in zip(references, hypotheses, strict=True))
    return edits / total if total else float("nan")
