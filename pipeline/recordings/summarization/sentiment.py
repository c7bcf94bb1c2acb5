"""The sentiment of a conversation, by a lexicon of English words (VADER: Hutto & Gilbert 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pipeline.recordings.summarization.sentences import Sentence
from pipeline.recordings.summarization.summary import Sentiment

NEUTRAL = 0.05  # maximum absolute mean compound score (VADER's threshold)


def sentiment(sentences: Sequence[Sentence], language: str) -> Sentiment | None:
    """Average over sentences, weighted by length (VADER saturates on long texts); None without English words."""
    if language.split("-")[0].lower() != "en":
        return None
    weights = [len(sentence.words) for sentence in sentences]
    if not sum(weights):
        return None
    scores = [_analyzer().polarity_scores(sentence.text)["compound"] for sentence in sentences]
    score = sum(weight * score for weight, score in zip(weights, scores)) / sum(weights)
    label = "positive" if score >= NEUTRAL else "negative" if score <= -NEUTRAL else "neutral"
    return Sentiment(label, round(score, 3))


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
