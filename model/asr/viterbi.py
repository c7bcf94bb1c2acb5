"""The most probable path of known tokens through an emission (forced alignment by Viterbi), and how well it fits.

The states are CTC's: a blank before, between and after the tokens. Other speech may precede and follow the tokens; a
filler state accounts for it with the most probable output, at a cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.phones import BLANK

# Nats per frame of speech outside the tokens (about 12 frames per second are not blank). Poorly recognized speech costs
# up to 16 nats per second on its own tokens, and 60 on wrong ones. The filler's cost must be in between, or the
# alignment of long recordings drifts.
FILLER_COST = 2.5
NEVER = np.float32(-1e30)


@dataclass(frozen=True)
class TokenPath:
    """The frames of an emission in which each token lies; ``last`` is inclusive.

    Attributes:
        first, last: frame of each token [tokens]; -1 for tokens after the end (``free_end`` only).
        own: log-probability of the path, summed up to and including each frame [time + 1].
        best: the same sum over each frame's most probable output, an upper bound for any path.
    """

    first: np.ndarray
    last: np.ndarray
    own: np.ndarray
    best: np.ndarray

    def shortfall(self, first: int, last: int) -> float:
        """Return the nats by which the path is less probable than the best outputs, from ``first`` to ``last``."""
        return float(self.best[last + 1] - self.best[first] - self.own[last + 1] + self.own[first])


def fits(tokens: Sequence[int], frames: int) -> bool:
    """Return whether CTC can output the tokens in that many frames: one each, and a blank between two equal ones."""
    same = sum(a == b for a, b in itertools.pairwise(tokens))
    return len(tokens) + same <= frames


def token_path(log_p: np.ndarray, tokens: Sequence[int], free_end: bool = False, filler: bool = True) -> TokenPath:
    """Align tokens (at least one) to an emission [time, outputs].

    Args:
        free_end: the emission may end before the tokens do.
        filler: other speech may precede the first token and follow the last.

    Raises:
        ValueError: there are no tokens, or more than fit into that many frames.
    """
    time = len(log_p)
    if not tokens or not (free_end or fits(tokens, time)):
        raise ValueError(f"{len(tokens)} tokens do not fit into {time} frames")
    labels = np.full(2 * len(tokens) + 1, BLANK)
    labels[1::2] = tokens
    states = len(labels)
    emitted = log_p[:, labels].astype(np.float32)
    top = log_p.max(axis=1).astype(np.float32)
    if filler:
        emitted[:, 0] = np.maximum(emitted[:, 0], top - FILLER_COST)
    if filler and not free_end:
        emitted[:, -1] = np.maximum(emitted[:, -1], top - FILLER_COST)
    jump = np.full(states, NEVER, np.float32)  # from one token to the next without a blank
    jump[3::2] = np.where(labels[3::2] != labels[1:-2:2], 0, NEVER)
    score = np.full(states, NEVER, np.float32)
    score[:2] = emitted[0, :2]
    moved = np.zeros((time, states), bool)  # reached from the preceding state
    jumped = np.zeros((time, states), bool)  # reached from the state before that
    before, earlier = np.full((2, states), NEVER, np.float32)
    for frame in range(1, time):
        before[1:] = score[:-1]
        np.add(score[:-2], jump[2:], out=earlier[2:])
        np.greater(before, score, out=moved[frame])
        np.maximum(before, score, out=score)
        np.greater(earlier, score, out=jumped[frame])
        np.maximum(earlier, score, out=score)
        np.add(score, emitted[frame], out=score)
    likelier = states - 1 if score[-1] > score[-2] else states - 2
    state = int(score.argmax()) if free_end else likelier
    path = np.empty(time, np.int64)
    for frame in range(time - 1, -1, -1):
        path[frame] = state
        state -= 2 if jumped[frame, state] else bool(moved[frame, state])
    own = emitted[np.arange(time), path].astype(np.float64)
    first = np.full(len(tokens), -1)
    last = np.full(len(tokens), -1)
    inside = np.flatnonzero(path % 2)
    number = path[inside] // 2
    last[number] = inside  # later frames overwrite earlier ones
    first[number[::-1]] = inside[::-1]
    return TokenPath(first, last, _sums(own), _sums(top.astype(np.float64)))


def _sums(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])
