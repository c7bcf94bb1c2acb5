"""How good summaries are: the words they share with those of people (ROUGE-1: Lin 2004), beside the first sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIRST = re.compile(r"^.*?[.!?…。](?=\s|$)|^.*", re.DOTALL)


def rouge_1(written: Sequence[str], wanted: Sequence[str]) -> float:
    """The mean F-measure of shared words, from 0 to 1; 0 for nothing."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    scores = [scorer.score(target, text)["rouge1"].fmeasure for text, target in zip(written, wanted)]
    return sum(scores) / len(scores) if scores else 0.0


def first_sentence(text: str, longest: int) -> str:
    """The baseline: the first sentence of a text, no longer than the model may write."""
    found = _FIRST.match(text.strip())
    return (found[0] if found else "")[:longest]
