"""Summaries from the recording's own sentences: those that cover most of its topics (LSA: Steinberger & Ježek 2004).

Of sumy's methods, this is the one that selects a meeting's decisions; LexRank and SumBasic select "thank you all, see
you next week", whose words occur in many sentences.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from core.readiness import Readiness
from pipeline.recordings.summarization.action_items import action_items
from pipeline.recordings.summarization.sentences import Sentence, sentences, words_of
from pipeline.recordings.summarization.sentiment import sentiment
from pipeline.recordings.summarization.summary import Point, Summary
from pipeline.recordings.transcripts.stop_words import STOP_WORDS
from pipeline.recordings.transcripts.transcript import Transcript

TEXT_SENTENCES = 3
MAX_POINTS, MIN_POINTS = 8, 3
MIN_WORDS = 5  # shorter sentences mean little without their context
BLOCK = 300  # sentences per comparison, because the cost is quadratic
COURTESY = frozenset(
    {
        "yes", "yeah", "yep", "okay", "ok", "thanks", "thank", "hello", "hi", "bye", "goodbye", "morning", "everybody",
        "everyone", "welcome", "fine", "right", "well", "oh", "um", "uh", "hm", "really", "danke", "bitte", "hallo",
        "tschüss", "gut", "genau", "ähm", "äh",
    }
)  # fmt: skip
STEMMED = {
    "da": "danish", "de": "german", "en": "english", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish",
}  # fmt: skip


class Extractive:
    """Always ready, for any language, and cannot invent content."""

    name = "extractive"
    licence = "Apache-2.0"  # licence of sumy

    def available(self) -> Readiness:
        return Readiness(True)

    def summarize(self, transcript: Transcript) -> Summary:
        """Return a summary whose text is the most important sentences, and whose points are more of them, in order."""
        all_sentences = sentences(transcript)
        wanted = max(MIN_POINTS, min(MAX_POINTS, round(math.sqrt(len(all_sentences)))))
        chosen = most_telling(all_sentences, wanted, transcript.language)
        order = {sentence: place for place, sentence in enumerate(all_sentences)}
        lead = sorted(chosen[:TEXT_SENTENCES], key=order.__getitem__)
        return Summary(
            text=" ".join(_closed(sentence.text) for sentence in lead),
            key_points=tuple(Point(s.text, s.segments) for s in sorted(chosen, key=order.__getitem__)),
            action_items=action_items(all_sentences),
            sentiment=sentiment(all_sentences, transcript.language),
            engine="extractive LSA",
            segments=tuple(dict.fromkeys(number for sentence in lead for number in sentence.segments)),
        )


def most_telling(all_sentences: Sequence[Sentence], count: int, language: str) -> list[Sentence]:
    """Return the ``count`` most important sentences, best first, with questions and very short ones last."""
    unlike: dict[tuple[str, ...], Sentence] = {}
    for sentence in all_sentences:
        unlike.setdefault(tuple(sentence.words), sentence)
    telling = [s for s in unlike.values() if len(s.words) >= MIN_WORDS and not s.text.endswith(("?", "？"))]
    candidates = telling if len(telling) >= count else list(unlike.values())
    while len(candidates) > BLOCK:
        # Select the best fifth of each block, until all fit into one.
        candidates = [
            sentence
            for start in range(0, len(candidates), BLOCK)
            for sentence in _ranked(candidates[start : start + BLOCK], language)[: BLOCK // 5]
        ]
    return _ranked(candidates, language)[:count]


def _ranked(candidates: Sequence[Sentence], language: str) -> list[Sentence]:
    from sumy.models.dom import ObjectDocumentModel, Paragraph
    from sumy.models.dom import Sentence as SumySentence
    from sumy.nlp.stemmers import Stemmer, null_stemmer
    from sumy.summarizers.lsa import LsaSummarizer

    stemmed = STEMMED.get(language.split("-")[0].lower())
    summarizer = LsaSummarizer(Stemmer(stemmed) if stemmed else null_stemmer)
    summarizer.stop_words = STOP_WORDS | COURTESY
    if len(candidates) < 3:  # too few to compare
        return list(candidates)
    tokenizer = _Words()
    document = ObjectDocumentModel([Paragraph([SumySentence(s.text, tokenizer) for s in candidates])])
    by_merit: list[Any] = []

    def keep(ranked: list[Any]) -> list[Any]:  # sumy calls this with all sentences, the best first
        by_merit.extend(ranked)
        return ranked

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sumy warns if there are few words in many sentences
        summarizer(document, keep)
    if len(by_merit) < len(candidates) or any(math.isnan(rated.rating) for rated in by_merit):
        return list(candidates)  # only stop words
    # Rounded, because sumy's order of words, and thus the last digits, differ between processes.
    by_merit.sort(key=lambda rated: (-round(rated.rating, 6), rated.order))
    return [candidates[rated.order] for rated in by_merit]


def _closed(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…", "。", "！", "？", '"', "”")) else f"{text}."


class _Words:
    """The tokenizer for sumy, whose own tokenizer requires nltk's data."""

    def to_words(self, text: str) -> list[str]:
        return words_of(text)
