"""A loss that asks of an acoustic model what a detector will ask: any phrase heard where it is said, nowhere else.

CTC alone rewards the right transcript on average. A detector lives in the extremes: the worst reading of the phrase
against the best of everything else. So, in every batch, a stretch of phones of each item stands for a phrase, all of
these are followed through all items by the detector's own :class:`~model.model.Matcher`, and each has to score higher
where it is said than in any item where it is not. People's speech, in noise, takes part in full; no phrase that a
detector is made for is known here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.matcher import Matcher

PHRASE_PHONES = (5, 13)  # shortest and longest stretch
SHARPNESS = 6.0  # of the maximum over items, and of the step between hit and miss, in units of a match score
MARGIN = 0.3  # of a match score, by which a hit has to be above all others


def draw_phrases(said: Sequence[Sequence[int]], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """A random stretch of each item's phones (outputs of a trunk); items that are too short give none."""
    shortest, longest = PHRASE_PHONES
    phrases = []
    for phones in said:
        if len(phones) >= shortest:
            count = int(rng.integers(shortest, min(longest, len(phones)) + 1))
            start = int(rng.integers(0, len(phones) - count + 1))
            phrases.append(tuple(phones[start : start + count]))
    return list(dict.fromkeys(phrases))


def holds(phones: Sequence[int], phrase: Sequence[int]) -> bool:
    """Whether the phrase's phones follow one another in ``phones``."""
    count = len(phrase)
    return any(tuple(phones[i : i + count]) == tuple(phrase) for i in range(len(phones) - count + 1))


def keyphrase_loss(
    log_p: Tensor, lengths: Tensor, said: Sequence[Sequence[int]], phrases: Sequence[tuple[int, ...]]
) -> Tensor:
    """Log-probabilities [batch, time, outputs] and their valid lengths [batch] to a scalar, 0 where all is well.

    For each phrase: the soft maximum over the items without it, plus a margin, less its mean over the items with it,
    through a softplus.
    """
    matcher = Matcher(tuple(phrases)).to(log_p.device)
    scores = matcher.follow(log_p)  # [batch, time, phrases]
    late = torch.arange(log_p.shape[1], device=log_p.device)[None] >= lengths[:, None]
    best = scores.masked_fill(late[:, :, None], -1e4).amax(dim=1)  # [batch, phrases]
    hit = torch.tensor([[holds(phones, phrase) for phrase in phrases] for phones in said], device=log_p.device)
    others = (SHARPNESS * best).masked_fill(hit, -1e4).logsumexp(0) / SHARPNESS
    hits = (best * hit).sum(0) / hit.sum(0).clamp(min=1)
    return (functional.softplus(SHARPNESS * (others + MARGIN - hits)) / SHARPNESS).mean()
