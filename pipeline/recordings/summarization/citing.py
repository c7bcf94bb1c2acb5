"""Which segments a sentence rests on that a model has written itself: those that share its words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pipeline.recordings.question_answering import STOP_WORDS
from pipeline.recordings.summarization.sentences import words_of
from pipeline.recordings.transcript import Transcript

MOST_CITED = 3
SHARE_OF_BEST = 0.6  # of the best segment's score: what shares that much is cited too


def supporting(text: str, transcript: Transcript, segments: Sequence[int]) -> tuple[int, ...]:
    """The segments, out of some, with most of the text's words, rare words first; none where no such word was said."""
    wanted = set(words_of(text)) - STOP_WORDS
    said = {number: set(words_of(transcript.segments[number].text)) for number in segments}
    counts = Counter(word for words in said.values() for word in words)
    weight = {word: math.log(1 + len(said) / counts[word]) for word in wanted if counts[word]}
    scores = {number: sum(weight[word] for word in wanted & words) for number, words in said.items()}
    best = max(scores.values(), default=0.0)
    if best == 0.0:
        return ()
    close = [number for number, score in scores.items() if score >= SHARE_OF_BEST * best]
    return tuple(sorted(sorted(close, key=lambda number: -scores[number])[:MOST_CITED]))
