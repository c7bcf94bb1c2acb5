"""Greedy decoding of CTC outputs, and error rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.phones import BLANK


def greedy(log_probabilities: np.ndarray) -> list[int]:
    """Return the most probable symbol of each frame [time, outputs], without repeats and blanks."""
    best = log_probabilities.argmax(axis=-1)
    changed = np.concatenate([[True], best[1:] != best[:-1]]) if len(best) else np.zeros(0, bool)
    return [int(symbol) for symbol in best[changed] if symbol != BLANK]


def edit_distance(reference: Sequence[object], hypothesis: Sequence[object]) -> int:
    """Count substitutions, insertions and deletions between two sequences (Levenshtein)."""
    row = np.arange(len(hypothesis) + 1)
    codes: dict[object, int] = {}
    target = np.asarray([codes.setdefault(symbol, len(codes)) for symbol in hypothesis], np.int64)
    steps = np.arange(len(hypothesis) + 1)
    for count, symbol in enumerate(reference, 1):
        code = codes.get(symbol, -1)
        best = np.minimum(row[1:] + 1, row[:-1] + (target != code))
        # Insertions run along the row: take the minimum of (value - position) so far, then add the position.
        row = np.minimum.accumulate(np.concatenate([[count], best]) - steps) + steps
    return int(row[-1])


def error_rate(references: Sequence[Sequence[object]], hypotheses: Sequence[Sequence[object]]) -> float:
    """Return edits per symbol of all references (a word, character or phone error rate); NaN without references."""
    total = sum(len(reference) for reference in references)
    edits = sum(edit_distance(r, h) for r, h in zip(references, hypotheses, strict=True))
    return edits / total if total else float("nan")
