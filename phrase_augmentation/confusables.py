"""Confusables: texts that sound like the keyphrase and that a detector must learn to reject."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from phrase_augmentation.distance import PhoneMatrix, is_vowel
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher
from phrase_augmentation.normalize import base_language, normalize, scripts_of
from phrase_augmentation.phonemes import Phones, accents, phonemes_of_words, phones_of_texts
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.sentences import generator
from phrase_augmentation.spellings import ALPHABETS, is_vowel_letter, letter_skeleton, misspellings, readable
from phrase_augmentation.vocabulary import UNSPOKEN, vocabulary

# Below this distance, a text may be mistaken for the phrase: 0.1 is one weak vowel for another, 0.35 "b" for "p".
MIN_DISTANCE = 0.3
MIN_DISTANCE_OF_NONWORDS = 0.4  # higher, because engines differ in how they read made-up words
RARITY_COST = 0.08  # added per power of ten in rarity, because people and engines know common words
STEMS = 150  # number of the most common words with the same stem
JITTER = 0.25  # random part of the ranking distance, which makes the seed mix texts of similar distance

# The kinds of every 20 texts, in this order; a kind without texts left is skipped. "stem" is returned as "vocabulary".
TURNS = (
    *("vocabulary", "substitute", "vocabulary", "stem", "vocabulary", "partial", "vocabulary", "substitute", "insert"),
    *("vocabulary", "substitute", "vocabulary", "joined", "delete", "vocabulary", "substitute", "reordered"),
    *("vocabulary", "stem", "repeated"),
)
NEW_BREAK = 0.4  # added to the ranking distance for each word beyond the number in the phrase: "cup you tore"
FARTHEST_EDIT = 1.4  # phone distance; a word that one edit changes by more is probably spelt out


@dataclass(frozen=True)
class _Reach:
    """Numbers of candidates to generate."""

    words: int  # number of nearest words that replace one word
    pair: int  # number of nearest words on each side if two words are replaced
    split: int  # number of nearest words for each part of a resegmented phrase
    spelled: int  # misspellings per word
    spelled_pair: int  # misspellings on each side if two words are misspelt


def confusables(keyphrase: Keyphrase, count: int, seed: int = 0) -> list[PhraseText]:
    """Return at most ``count`` distinct texts near the phrase, nearest first (minimum phone distance over accents).

    Kinds: "vocabulary" (a real word in place of one, the phones resegmented into other words, or words of the same
    stem), "substitute", "insert" and "delete" (made-up words from edits of phones), "partial", "repeated", "reordered"
    and "joined". None is a homophone or contains the phrase (:mod:`phrase_augmentation.matching`). A longer list
    contains the shorter one. The list is shorter than ``count`` if there are not enough.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    if count < 1:
        return []
    phrase, language = keyphrase.text, keyphrase.language
    rng = generator(seed, "confusables", language, phrase)
    words = len(keyphrase.words)
    mixed: dict[str, list[PhraseText]] = {}
    for kind, pool in _pools(phrase, language):
        order = np.array(
            [(text.distance or 0.0) + NEW_BREAK * max(0, text.text.count(" ") + 1 - words) for text in pool]
        )
        order += JITTER * rng.random(len(pool))
        mixed[kind] = [pool[index] for index in np.argsort(order, kind="stable")]
    chosen = list(itertools.islice(_in_turns(mixed), count))
    return sorted(chosen, key=lambda text: (text.distance or 0.0, text.text))


def _in_turns(pools: dict[str, list[PhraseText]]) -> Iterator[PhraseText]:
    left = {kind: iter(pool) for kind, pool in pools.items()}
    while left:
        for kind in (*TURNS, *(kind for kind in pools if kind not in TURNS)):
            if kind in left:
                text = next(left[kind], None)
                if text is None:
                    del left[kind]
                else:
                    yield text


@lru_cache(maxsize=8)
def _pools(phrase: str, language: str) -> tuple[tuple[str, tuple[PhraseText, ...]], ...]:
    """Return all usable candidates by kind, but only the first of those that sound alike."""
    words = phrase.split()
    others = max(1, len(words) - 1)
    reach = _Reach(
        words=max(150, 1200 // len(words)),
        pair=max(10, 40 // others),
        split=30 if len(words) == 1 else 14,
        spelled=max(60, 440 // len(words)),
        spelled_pair=max(8, 30 // others),
    )
    kinds: dict[str, str] = {}
    english = base_language(language) == "en"
    for text, kind in _candidates(words, language, reach):
        text = " ".join(text.split())
        if text and text != phrase and not (english and UNSPOKEN.search(text)):
            kinds.setdefault(text, kind)
    candidates = list(kinds)
    texts = [text for text, hit in zip(candidates, phrase_matcher(phrase, language).matches_of(candidates)) if not hit]
    spoken = phones_of_texts(texts, accents(language)[0])
    length = len(phones_of_texts([phrase], accents(language)[0])[0])
    skeleton = letter_skeleton(phrase)
    known = set(vocabulary(language).words)
    pools: dict[str, list[PhraseText]] = {}
    sounds: set[Phones] = set()
    for text, phones, distance in zip(texts, spoken, distances_to(phrase, texts, language)):
        kind = kinds[text]
        if kind == "misspelt":
            kind = "insert" if len(phones) > length else "delete" if len(phones) < length else "substitute"
        made_up = kind not in ("vocabulary", "stem")
        if made_up and f" {phrase}" in f" {text}":
            continue  # "alexam" may be read as the phrase plus a consonant
        least = MIN_DISTANCE_OF_NONWORDS if made_up else MIN_DISTANCE
        if not phones or phones in sounds or distance < least:
            continue
        if (
            kind in ("partial", "joined", "reordered")
            and letter_skeleton(text) == skeleton
            and not known.issuperset(text.split())
        ):
            continue  # "hecompass" and "hey compas" may be read as the phrase
        sounds.add(phones)
        given = "vocabulary" if kind == "stem" else kind
        pools.setdefault(kind, []).append(PhraseText(text, given, round(distance, 3)))
    return tuple((kind, tuple(pools[kind])) for kind in sorted(pools))


def _candidates(words: list[str], language: str, reach: _Reach) -> Iterator[tuple[str, str]]:
    """Yield texts with their kinds, unchecked; if a text occurs twice, the first counts."""
    pieces = [_pieces(word, language) for word in words]
    yield from ((text, "partial") for text in _partial(words, pieces))
    yield from ((text, "repeated") for text in _repeated(words, pieces))
    yield from ((text, "reordered") for text in _reordered(words, pieces, language))
    yield from ((text, "stem") for text in _stems(words, language))
    yield from ((text, "vocabulary") for text in _vocabulary(words, language, reach))
    yield from ((text, "joined") for text in _joined(words, language))
    yield from ((text, "misspelt") for text in _misspelt(words, language, reach))


def _vocabulary(words: list[str], language: str, reach: _Reach) -> Iterator[str]:
    known = vocabulary(language)
    phones = phonemes_of_words(words, language)
    near = [[word for word, _ in known.nearest(sounds, reach.words, RARITY_COST)] for sounds in phones]
    for place in range(len(words)):
        for word in near[place]:
            yield " ".join([*words[:place], word, *words[place + 1 :]])
    for first in range(len(words) - 1):
        for pair in itertools.product(near[first][: reach.pair], near[first + 1][: reach.pair]):
            yield " ".join([*words[:first], *pair, *words[first + 2 :]])
    if len(words) > 1:
        for neighbours in near:
            # Words near each single word of the phrase, because the other words may be inaudible.
            yield from neighbours[:25]
    yield from _resegmented([phone for sounds in phones for phone in sounds], language, reach.split)


def _stems(words: list[str], language: str) -> Iterator[str]:
    """Yield words that begin or end like a word of the phrase, in its position and alone: "computing", "commuter"."""
    known = vocabulary(language).words
    for place, word in enumerate(words):
        shared = max(3, (len(word) + 1) // 2)
        if len(word) >= 4:
            begin, end = word[:shared], word[-shared:]
            alike = [
                other
                for other in known
                if other != word and len(other) <= 2 * len(word) and (other.startswith(begin) or other.endswith(end))
            ]
            for other in alike[:STEMS]:
                yield " ".join([*words[:place], other, *words[place + 1 :]])
                yield other


def _resegmented(phones: list[str], language: str, width: int) -> Iterator[str]:
    """Split the phrase's phones into two or three other real words: "computer" as "come pewter"."""
    known = vocabulary(language)
    nearest: dict[Phones, list[str]] = {}

    def words_for(begin: int, end: int) -> list[str]:
        span = tuple(phones[begin:end])
        if span not in nearest:
            nearest[span] = [word for word, _ in known.nearest(span, width, 2 * RARITY_COST)]
        return nearest[span]

    def has_vowel(begin: int, end: int) -> bool:
        return any(is_vowel(phone) for phone in phones[begin:end])

    length = len(phones)
    for cut in range(1, length):
        if has_vowel(0, cut) and has_vowel(cut, length):
            for pair in itertools.product(words_for(0, cut), words_for(cut, length)):
                yield " ".join(pair)
    narrow = max(2, width // 4)
    for first, second in itertools.combinations(range(2, length - 1), 2):
        spans = ((0, first), (first, second), (second, length))
        if length >= 8 and all(end - begin >= 2 and has_vowel(begin, end) for begin, end in spans):
            for triple in itertools.product(*(words_for(*span)[:narrow] for span in spans)):
                yield " ".join(triple)


def _misspelt(words: list[str], language: str, reach: _Reach) -> Iterator[str]:
    ranked = [_ranked_misspellings([word], language, reach.spelled) for word in words]
    for place, spelled in enumerate(ranked):
        for word in spelled:
            yield " ".join([*words[:place], word, *words[place + 1 :]])
    for first in range(len(words) - 1):
        for pair in itertools.product(ranked[first][: reach.spelled_pair], ranked[first + 1][: reach.spelled_pair]):
            yield " ".join([*words[:first], *pair, *words[first + 2 :]])
    if len(words) == 1:
        # In a phrase of one word, that word is misspelt twice instead of two words once.
        yield from _ranked_misspellings(ranked[0][:40], language, reach.spelled, words[0])


def _ranked_misspellings(words: Sequence[str], language: str, count: int, target: str | None = None) -> list[str]:
    """Return the misspellings of all ``words`` nearest to the target (default: the first word), nearest first."""
    if not words:
        return []
    of_target = target or words[0]
    farthest = FARTHEST_EDIT if target is None else 2 * FARTHEST_EDIT
    spelled = list(dict.fromkeys(other for word in words for other in misspellings(word, language, of_target)))
    phones = phonemes_of_words([of_target, *spelled], language)
    distances = PhoneMatrix(phones[1:]).distances(phones[0])
    return [spelled[index] for index in np.argsort(distances, kind="stable")[:count] if distances[index] <= farthest]


def _pieces(word: str, language: str) -> list[str]:
    """Return beginnings and ends of a word that can be read alone: with a vowel and at least two letters."""
    sides = [word[:cut] for cut in range(2, len(word))] + [word[cut:] for cut in range(1, len(word) - 1)]
    return [side for side in dict.fromkeys(sides) if side != word and _can_be_said(side, language)]


def _can_be_said(piece: str, language: str) -> bool:
    if not scripts_of(language) & ALPHABETS:
        return len(piece) > 0
    return len(piece) > 1 and any(map(is_vowel_letter, piece)) and readable(piece, language)


def _partial(words: list[str], pieces: list[list[str]]) -> Iterator[str]:
    for length in range(len(words) - 1, 0, -1):
        for begin in range(len(words) - length + 1):
            yield " ".join(words[begin : begin + length])
    for left_out in range(1, len(words) - 1):
        yield " ".join(words[:left_out] + words[left_out + 1 :])
    for place, word in enumerate(words):
        for piece in pieces[place]:
            if word.startswith(piece):
                yield " ".join([*words[:place], piece])
                yield " ".join([*words[:place], piece, *words[place + 1 :]])
            else:
                yield " ".join([piece, *words[place + 1 :]])
                yield " ".join([*words[:place], piece, *words[place + 1 :]])
            yield piece


def _repeated(words: list[str], pieces: list[list[str]]) -> Iterator[str]:
    # "hey compass" occurs in "hey hey compass"; texts with the whole phrase are removed later.
    for place, word in enumerate(words):
        for times in (2, 3):
            yield " ".join([word] * times)
            yield " ".join([*words[:place], *[word] * times, *words[place + 1 :]])
        for piece in pieces[place]:
            yield " ".join([*words[:place], piece, piece])
            yield " ".join([piece, piece, *words[place + 1 :]])
            yield " ".join([piece] * 3)


def _reordered(words: list[str], pieces: list[list[str]], language: str) -> Iterator[str]:
    for order in itertools.islice(itertools.permutations(words), 1, 121):
        yield " ".join(order)
    for place, word in enumerate(words):
        before, after = words[:place], words[place + 1 :]
        for piece in pieces[place]:
            if word.startswith(piece):
                rest = word[len(piece) :]
                swapped = [[rest, piece]] if _can_be_said(rest, language) else []
                swapped += [[rest + piece]] if _can_be_said(rest + piece, language) else []
                for turned in swapped:
                    yield " ".join([*before, *turned, *after])
                    yield " ".join([*turned, *after, *before])
                yield " ".join([*after, piece, *before])
            else:
                yield " ".join([piece, *after, *before])


def _joined(words: list[str], language: str) -> Iterator[str]:
    """Join two words, or two parts of one: "compasshey", "hempass", "smirror", "compter"."""
    pairs: Iterable[tuple[str, str]] = itertools.permutations(words, 2) if len(words) > 1 else [(words[0], words[0])]
    for first, second in pairs:
        if len(words) > 1:
            yield second + first
        for head, tail in itertools.product(range(1, len(first) + 1), range(1, len(second) + 1)):
            blend = first[:head] + second[-tail:]
            # A blend has at least half the letters of the longer word; shorter ones do not resemble the phrase.
            if len(blend) >= max(3, max(len(first), len(second)) // 2) and readable(blend, language):
                yield blend
                if len(words) == 2 and len(blend) <= max(len(first), len(second)):
                    yield f"{words[0]} {blend}"


def distances_to(phrase: str, texts: Sequence[str], language: str = "en") -> list[float]:
    """Return the phone distance of each text to the phrase, the smallest over the language's accents."""
    nearest = np.full(len(texts), np.inf, dtype=np.float32)
    normalized = [normalize(text, language) for text in texts]
    for accent in accents(language):
        matrix = PhoneMatrix(phones_of_texts(normalized, accent))
        nearest = np.minimum(nearest, matrix.distances(phones_of_texts([normalize(phrase, language)], accent)[0]))
    result: list[float] = nearest.tolist()
    return result
