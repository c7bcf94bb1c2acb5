"""Decoding of phone emissions into words: a beam search over the phones of a vocabulary, with a language model.

The recognizer was trained on a few hours of speech. Most words that its characters spell are wrong. Its phones are
better, and a vocabulary limits them to words. States are (last words, node in the tree of pronunciations, last output);
if two states are equal, the more probable history survives. Each branch of the tree stores the highest word probability
below it, so that rare words are pruned early.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from model.phones import BLANK, phone_indices
from phrase_augmentation.normalize import base_language
from phrase_augmentation.phonemes import Phones, phonemes_of_words
from phrase_augmentation.vocabulary import vocabulary

WORDS = 40_000  # words in the vocabulary
WEAK_WORDS = 400  # number of the most frequent words that also have reduced pronunciations ("the", "to", "and")
BETWEEN = (("see", "now"), ("see", "all"), ("look", "now"))  # words before and after a weak word, as in a sentence
GENERAL_WEIGHT = 5.0  # weight of a word's general probability, in word pairs from transcripts
ROOT = 0
IMPOSSIBLE = -100.0  # nats; the trigrams' value for unknown words
UNLISTED = -3.0  # nats by which a word outside the trigrams' vocabulary is less probable than its frequency suggests
# Maps a state (last words, node of the tree, last output) to its log-probability and its words. These are a linked list
# of pairs (previous words, last word).
Beams = dict[tuple[tuple[str, ...], int, int], tuple[float, tuple | None]]


@dataclass(frozen=True)
class DecodingConfig:
    """Parameters of the beam search. The weights were chosen on 40 utterances of librispeech-dev-clean."""

    beam: int = 250  # states that survive each frame
    beam_nats: float = 16.0  # nats; states that are less probable than the best one by more than this are dropped
    outputs: int = 10  # number of the most probable outputs that are tried per frame
    output_floor: float = -9.0  # nats; less probable outputs are not tried
    # Nats subtracted from the blank, which CTC outputs in most frames; chosen with the trigrams, like the others.
    blank_cost: float = 1.8
    word_weight: float = 1.0  # weight of the language model relative to the emission
    word_bonus: float = 0.0  # nats per word
    still: float = 0.999  # frames whose blank is more probable than this do not extend a word


@dataclass(frozen=True)
class WordModel:
    """Probabilities of words and of pairs of words; ``unigram`` and ``pairs`` hold natural logarithms.

    ``pairs[a][b]`` is the probability of b after a; for other words after a it is ``backoff[a]`` plus the unigram.
    """

    unigram: dict[str, float]
    pairs: dict[str, dict[str, float]]
    backoff: dict[str, float]
    unknown: float
    context: int = 1  # number of previous words that a word's probability depends on

    def alone(self, word: str) -> float:
        return self.unigram.get(word, self.unknown)

    def after(self, before: tuple[str, ...], word: str) -> float:
        """Return log P(word | before)."""
        last = before[-1] if before else ""
        known = self.pairs.get(last)
        if known is not None and word in known:
            return known[word]
        return self.backoff.get(last, 0.0) + self.alone(word)


class TrigramModel:
    """The US English word trigrams of the package pocketsphinx (19,794 words); ``general`` covers other words.

    Raises ImportError if the package is not installed.
    """

    context = 2

    def __init__(self, general: WordModel) -> None:
        import pocketsphinx

        self._general = general
        base = 1.0001
        path = pocketsphinx.get_model_path("en-us/en-us.lm.bin")
        self._model = pocketsphinx.NGramModel(pocketsphinx.Config(), pocketsphinx.LogMath(base), path)
        self._nats = math.log(base)
        self._known: dict[tuple[str, ...], float] = {}

    def alone(self, word: str) -> float:
        return self._probability((word,))

    def after(self, before: tuple[str, ...], word: str) -> float:
        """Return log P(word | before); if ``before`` has fewer than ``context`` words, it begins the sentence."""
        begun = before if len(before) == self.context else ("<s>", *before)
        return self._probability((word, *begun[::-1]))

    def _probability(self, words: tuple[str, ...]) -> float:
        """Return log P(words[0] | words[1:]); ``words`` go backwards in time, from the latest to the earliest."""
        log_probability = self._known.get(words)
        if log_probability is None:
            log_probability = self._nats * self._model.prob(list(words))
            if log_probability < IMPOSSIBLE:
                log_probability = self._general.alone(words[0]) + UNLISTED
            self._known[words] = log_probability
        return log_probability


def word_model(frequencies: dict[str, float], transcripts: Iterable[str]) -> WordModel:
    """Estimate a word model from general word frequencies (fractions of running text) and word pairs in transcripts."""
    single: Counter[str] = Counter()
    pair_counts: dict[str, Counter[str]] = {}
    for transcript in transcripts:
        words = transcript.split()
        single.update(words)
        for before, word in zip(["", *words], words):
            pair_counts.setdefault(before, Counter())[word] += 1
    total = sum(single.values())
    everyday = sum(frequencies.values()) or 1.0
    share = total / (total + 100_000)  # weight of the transcripts in a word's probability: half at 100,000 words
    unigram = {
        word: math.log(
            (1 - share) * frequencies.get(word, 1e-8) / everyday + share * (single[word] / total if total else 0)
        )
        for word in {*frequencies, *single}
    }
    unknown = math.log(1e-9)
    pairs: dict[str, dict[str, float]] = {}
    backoff: dict[str, float] = {}
    for before, counts in pair_counts.items():
        seen = sum(counts.values())
        left = GENERAL_WEIGHT / (seen + GENERAL_WEIGHT)
        backoff[before] = math.log(left)
        pairs[before] = {
            word: math.log((1 - left) * count / seen + left * math.exp(unigram[word])) for word, count in counts.items()
        }
    return WordModel(unigram, pairs, backoff, unknown)


class WordDecoder:
    """Decodes phone emissions into words.

    Args:
        pronunciations: (word, outputs of its phones); a word may occur more than once.
    """

    def __init__(self, pronunciations: Iterable[tuple[str, Sequence[int]]], model: WordModel | TrigramModel) -> None:
        self.model = model
        self._children: list[dict[int, int]] = [{}]
        self._words: list[list[str]] = [[]]
        ahead: list[float] = [-math.inf]
        for word, phones in pronunciations:
            if not phones:
                continue
            node = ROOT
            path = []
            for phone in phones:
                following = self._children[node].get(phone)
                if following is None:
                    following = len(self._children)
                    self._children[node][phone] = following
                    self._children.append({})
                    self._words.append([])
                    ahead.append(-math.inf)
                node = following
                path.append(node)
            if word in self._words[node]:
                continue
            self._words[node].append(word)
            probability = model.alone(word)
            for place in path:
                ahead[place] = max(ahead[place], probability)
        ahead[ROOT] = 0.0
        self._ahead = ahead

    def words(self, log_p: np.ndarray, config: DecodingConfig | None = None) -> list[str]:
        """Return the words of a phone emission [time, outputs]; [] without speech."""
        config = config or DecodingConfig()
        still = math.log(config.still)
        order = np.argsort(-log_p, axis=1)[:, : config.outputs]
        beams: Beams = {((), ROOT, BLANK): (0.0, None)}
        for number in range(len(log_p)):
            frame = log_p[number].tolist()
            blank = frame[BLANK] - config.blank_cost
            if frame[BLANK] > still:
                beams = _waited(beams, blank)
                continue
            active = [o for o in order[number].tolist() if o != BLANK and frame[o] > config.output_floor]
            beams = self._grown(beams, frame, blank, active, config)
            if len(beams) > config.beam:
                best = heapq.nlargest(config.beam, beams.items(), key=lambda item: item[1][0])
                least = best[0][1][0] - config.beam_nats
                beams = {key: entry for key, entry in best if entry[0] >= least}
        # Unfinished words are dropped.
        finished = [entry for (_, node, _), entry in beams.items() if node == ROOT]
        _, history = max(finished or beams.values(), key=lambda entry: entry[0])
        result: list[str] = []
        while history is not None:
            history, word = history
            result.append(word)
        return result[::-1]

    def _grown(
        self, beams: Beams, frame: list[float], blank: float, active: list[int], config: DecodingConfig
    ) -> Beams:
        """Extend each beam by a frame: by a blank, the same output again, or another active output."""
        children, ahead, words_at, after = self._children, self._ahead, self._words, self.model.after
        weight, bonus, context = config.word_weight, config.word_bonus, self.model.context
        grown: Beams = {}
        for (before, node, last), (score, history) in beams.items():
            key = (before, node, BLANK)
            known = grown.get(key)
            if known is None or known[0] < score + blank:
                grown[key] = (score + blank, history)
            if last != BLANK:
                key = (before, node, last)
                same = score + frame[last]
                known = grown.get(key)
                if known is None or known[0] < same:
                    grown[key] = (same, history)
            below = children[node]
            for output in active:
                if output == last:
                    continue
                child = below.get(output)
                if child is None:
                    continue
                reached = score + frame[output] - weight * ahead[node]
                if children[child]:
                    further = reached + weight * ahead[child]
                    key = (before, child, output)
                    known = grown.get(key)
                    if known is None or known[0] < further:
                        grown[key] = (further, history)
                for word in words_at[child]:
                    ended = reached + weight * after(before, word) + bonus
                    key = ((*before, word)[-context:], ROOT, output)
                    known = grown.get(key)
                    if known is None or known[0] < ended:
                        grown[key] = (ended, (history, word))
        return grown


def _waited(beams: Beams, blank: float) -> Beams:
    grown: Beams = {}
    for (before, node, _), (score, history) in beams.items():
        known = grown.get((before, node, BLANK))
        if known is None or known[0] < score + blank:
            grown[before, node, BLANK] = (score + blank, history)
    return grown


def decoder_for(language: str = "en", transcripts: Iterable[str] = ()) -> WordDecoder:
    """Return a decoder over the language's most frequent words and those of the transcripts (normalized texts).

    The first call for a language takes several seconds. Raises HarkError if espeak-ng does not have the language.
    """
    known = vocabulary(language, WORDS)
    texts = list(transcripts)
    frequencies = dict(zip(known.words, known.frequency.tolist()))
    pronunciations = [(word, phone_indices(phones)) for word, phones in zip(known.words, known.phones)]
    others = sorted({word for text in texts for word in text.split()} - set(known.words))
    pronunciations += [(w, phone_indices(p)) for w, p in zip(others, phonemes_of_words(others, language)) if p]
    pronunciations += [
        (word, phone_indices(phones)) for word, phones in _weak_forms(known.words[:WEAK_WORDS], language)
    ]
    general = word_model(frequencies, texts)
    if base_language(language) == "en":
        try:
            return WordDecoder(pronunciations, TrigramModel(general))
        except ImportError:
            pass  # without the package: word frequencies, and word pairs from the transcripts
    return WordDecoder(pronunciations, general)


@lru_cache(maxsize=8)
def _weak_forms(words: tuple[str, ...], language: str) -> tuple[tuple[str, Phones], ...]:
    """Return reduced pronunciations of words in context, if the neighbours' phones are unchanged there."""
    forms: list[tuple[str, Phones]] = []
    for before, after in BETWEEN:
        first, last = phonemes_of_words([before, after], language)
        whole = phonemes_of_words([f"{before} {word} {after}" for word in words], language)
        for word, phones in zip(words, whole):
            inner = phones[len(first) : len(phones) - len(last)]
            if inner and phones[: len(first)] == first and phones[len(phones) - len(last) :] == last:
                forms.append((word, inner))
    return tuple(dict.fromkeys(forms))
