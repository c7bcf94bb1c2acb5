"""Quality of summaries: ROUGE-1 (words shared with human ones; Lin 2004), and the first sentence as the baseline."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIRST = re.compile(r"^.*?[.!?…。](?=\s|$)|^.*", re.DOTALL)


def rouge_1(written: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the mean F-measure of shared words, from 0 to 1; 0 without texts."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    scores = [scorer.score(target, text)["rouge1"].fmeasure for text, target in zip(written, wanted)]
    return sum(scores) / len(scores) if scores else 0.0


def first_sentence(text: str, max_length: int) -> str:
    """Return the baseline: the first sentence of a text, cut to the model's longest summary."""
    match = _FIRST.match(text.strip())
    return (match[0] if match else "")[:max_length]
