"""Advice on a keyphrase (too short, too common, too similar to others), which never blocks a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from core.worded import worded
from phrase_augmentation.confusables import distances_to
from phrase_augmentation.distance import REDUCED, is_vowel
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher, spoken_form
from phrase_augmentation.normalize import base_language
from phrase_augmentation.phonemes import Phones, accents, phonemes_of_words
from phrase_augmentation.vocabulary import Vocabulary, vocabulary, zipf

# Seconds that a phone lasts in slow speech; the estimated duration of a phrase is accurate to a third.
CONSONANT_S, VOWEL_S, DIPHTHONG_S, REDUCED_S = 0.07, 0.10, 0.15, 0.06

SHORT_PHONES, SHORT_SYLLABLES = 5, 2  # a phrase with fewer is too short for any detector
ENOUGH_PHONES, ENOUGH_SYLLABLES = 6, 3  # the usual wake words ("alexa", "hey siri") have at least about this many
LONG_SYLLABLES = 8
WORDS_AN_HOUR = 9_000  # of continuous speech, at 150 words per minute
COMMON_PER_MILLION, FREQUENT_PER_MILLION = 1.0, 20.0
NEAR = 1.0  # phone distance: up to two small changes
VERY_NEAR = 0.6
SPOKEN_PER_MILLION = 0.5  # a rarer neighbour is not mentioned
MAX_SPLIT_PHONES = 16  # maximum phones of a phrase that is split
SPLIT_WORDS = 3_000  # number of the most common words, which a phrase may consist of by chance
SHOWN = 8

TAKEN = frozenset((
    "alexa", "amazon", "echo", "computer", "ziggy", "hey siri", "siri", "ok google", "okay google", "hey google",
    "hey cortana", "cortana", "hi bixby", "hey jarvis", "jarvis", "hey mycroft", "ok nabu", "okay nabu", "hey meta",
))  # fmt: skip
GREETINGS: dict[str, tuple[str, ...]] = {
    "en": ("hey", "okay", "hello"),
    "de": ("hallo", "hey", "okay"),
    "fr": ("bonjour", "salut", "dis"),
    "es": ("hola", "oye", "oiga"),
    "it": ("ciao", "ehi", "senti"),
    "pt": ("olá", "oi", "escuta"),
    "nl": ("hallo", "hey", "luister"),
    "ru": ("привет", "слушай", "эй"),
}

Level = Literal["good", "caution", "warning"]


@dataclass(frozen=True)
class Note:
    """A finding in one or two sentences."""

    level: Level
    message: str


@dataclass(frozen=True)
class WordCommonness:
    """A word with its Zipf value: log10 of its occurrences per billion words of running text; 0 if unknown."""

    word: str
    zipf: float


@dataclass(frozen=True)
class NearHomophone:
    """A real word or phrase that sounds like the keyphrase, with its phone distance (0: exactly alike)."""

    text: str
    distance: float


@dataclass(frozen=True)
class Advice:
    """Facts about a keyphrase before training.

    Attributes:
        phones: IPA phones of each word, in the first accent of the language.
        duration_s: estimate of its duration when spoken.
        heard_per_million: estimate of its occurrences per million words of general speech, including homophones and
            longer words that contain it; 0 if the words of the language are unknown.
    """

    phrase: str
    normalized: str
    language: str
    phones: tuple[Phones, ...]
    syllables: int
    duration_s: float
    commonness: tuple[WordCommonness, ...]
    heard_per_million: float
    near_homophones: tuple[NearHomophone, ...]
    notes: tuple[Note, ...]
    suggestions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def advise(phrase: str, language: str = "en") -> Advice:
    """Return advice on a keyphrase, in about ten milliseconds after the first call for a language (a second or two).

    Raises:
        HarkError: the text is not a keyphrase at all (empty, other script, ...), or espeak-ng cannot pronounce the
            language.
    """
    normalized = Keyphrase.of(phrase, language).text
    words = normalized.split()
    known = vocabulary(language)
    phones = tuple(phonemes_of_words(words, language))
    all_phones = [phone for word in phones for phone in word]
    syllables = sum(map(is_vowel, all_phones))
    duration = spoken_seconds(all_phones)
    commonness = tuple(WordCommonness(word, zipf(word, language)) for word in words)
    per_million = _heard_per_million(words, language, known)
    near = _near_homophones(words, phones, language, known)
    notes = [
        _note_on_length(len(all_phones), syllables, duration),
        _note_on_commonness(per_million, bool(known.words), any(common.zipf == 0.0 for common in commonness)),
        *_notes_on_neighbours(near, language),
        *_notes_on_words(normalized, commonness, bool(known.words)),
    ]
    weak = any(note.level == "warning" for note in notes) or notes[0].level != "good"
    return Advice(
        phrase=phrase,
        normalized=normalized,
        language=language,
        phones=phones,
        syllables=syllables,
        duration_s=round(duration, 2),
        commonness=commonness,
        heard_per_million=per_million,
        near_homophones=tuple(near[:SHOWN]),
        notes=tuple(notes),
        suggestions=tuple(_suggestions(words, syllables, language, per_million)) if weak else (),
    )


def spoken_seconds(phones: Iterable[str]) -> float:
    """Estimate the duration of phones, spoken slowly."""
    return sum(map(_phone_seconds, phones))


def _phone_seconds(phone: str) -> float:
    if not is_vowel(phone):
        return CONSONANT_S
    if phone[0] in REDUCED:
        return REDUCED_S
    return DIPHTHONG_S if len(phone) > 1 and is_vowel(phone[1]) else VOWEL_S


@lru_cache(maxsize=4)
def _spoken_vocabulary(language: str) -> str:
    """Return the words of the language as spoken forms, one per line."""
    accent = accents(language)[0]
    return "\n".join(spoken_form(phones, accent) for phones in vocabulary(language).phones)


def _heard_per_million(words: list[str], language: str, known: Vocabulary) -> float:
    """Estimate how often a phrase is heard per million words, including words that sound the same.

    For several words, the estimate is the geometric mean of two bounds. The lower one is the product of the words'
    frequencies, which is too low for common phrases ("good morning"); the upper one is that of the rarest word.
    """
    if not known.words:
        return 0.0
    return float(f"{_met_by_chance([_share(word, len(words) == 1, language, known) for word in words]):.3g}")


def _met_by_chance(shares: list[float]) -> float:
    return 1e6 * math.sqrt(math.prod(shares) * min(shares))


def _share(word: str, alone: bool, language: str, known: Vocabulary) -> float:
    """Return the fraction of words in running text that sound like ``word`` or, if ``alone``, contain its sound."""
    lines = _spoken_vocabulary(language)
    heard = phrase_matcher(word, language).matching_lines(lines, accents(language)[0], whole=not alone)
    own = zipf(word, language)
    listed = any(known.words[index] == word for index in heard)
    return float(known.frequency[heard].sum()) + (10 ** (own - 9) if own and not listed else 0.0)


def _near_homophones(
    words: list[str], phones: tuple[Phones, ...], language: str, known: Vocabulary
) -> list[NearHomophone]:
    """Return real phrases with a phone distance of at most :data:`NEAR` to this one, the nearest first.

    Each differs in one word, or consists of two common words that together sound like the phrase.
    """
    letters = "".join(words)
    neighbours: dict[str, None] = {}
    for place, sounds in enumerate(phones):
        for word, distance in known.nearest(sounds, 30):
            if distance <= NEAR and word != words[place]:
                neighbours[" ".join([*words[:place], word, *words[place + 1 :]])] = None
    common = vocabulary(language, SPLIT_WORDS)
    sounds = tuple(phone for word in phones for phone in word)
    for cut in range(1, len(sounds) if len(sounds) <= MAX_SPLIT_PHONES else 0):
        for first, first_distance in common.nearest(sounds[:cut], 3):
            if first_distance <= NEAR:
                for second, second_distance in common.nearest(sounds[cut:], 3):
                    if first_distance + second_distance <= NEAR and first + second != letters:
                        neighbours[f"{first} {second}"] = None
    texts = list(neighbours)
    near = [
        NearHomophone(text, round(distance, 2))
        for text, distance in zip(texts, distances_to(" ".join(words), texts, language))
        if distance <= NEAR
    ]
    return sorted(near, key=lambda other: (other.distance, -_commonness(other.text, language), other.text))


def _commonness(text: str, language: str) -> float:
    """Estimate how often a text occurs in a million words, from the frequencies of its words."""
    values = [zipf(word, language) for word in text.split()]
    return _met_by_chance([10 ** (value - 9) if value else 0.0 for value in values])


def _note_on_length(phones: int, syllables: int, duration: float) -> Note:
    measure = worded(
        "%(n)d syllable and %(sounds)d sounds", "%(n)d syllables and %(sounds)d sounds", n=syllables, sounds=phones
    )
    seconds = round(duration, 1)
    if phones < SHORT_PHONES or syllables < SHORT_SYLLABLES:
        text = worded(
            "It is too short: %(measure)s. It will occur inside other words, and false alarms will be frequent.",
            measure=measure,
        )
        return Note("warning", text)
    if phones < ENOUGH_PHONES or syllables < ENOUGH_SYLLABLES:
        text = worded(
            "It is rather short: %(measure)s. Phrases of three syllables or more are much easier to distinguish.",
            measure=measure,
        )
        return Note("caution", text)
    if syllables > LONG_SYLLABLES:
        text = worded(
            "It is long: %(measure)s, about %(seconds)s s. People in a hurry leave out parts of it.",
            measure=measure, seconds=seconds,
        )  # fmt: skip
        return Note("caution", text)
    text = worded("Good length: %(measure)s, about %(seconds)s s.", measure=measure, seconds=seconds)
    return Note("good", text)


def _note_on_commonness(per_million: float, known: bool, unknown_word: bool) -> Note:
    if not known:
        text = worded(
            "Hark does not know how common its words are in this language: listen for it in everyday conversation."
        )
        return Note("caution", text)
    if unknown_word and not per_million:  # an unlisted word need not be rare
        text = worded("Hark does not know how common it is: listen for it in everyday conversation.")
        return Note("caution", text)
    hours = 1e6 / per_million / WORDS_AN_HOUR if per_million else math.inf
    if per_million >= FREQUENT_PER_MILLION:
        often = (
            worded("%(n)d time an hour", "%(n)d times an hour", n=round(1 / hours))
            if hours < 0.7
            else worded("every %(hours)d h", hours=round(max(1.0, hours)))
        )
        text = worded("These are frequent words: in conversation, it may occur by chance %(often)s.", often=often)
        return Note("warning", text)
    if per_million >= COMMON_PER_MILLION:
        text = worded("It occurs in ordinary conversation, perhaps once in %(hours)d h.", hours=round(hours))
        return Note("caution", text)
    return Note("good", worded("It hardly ever occurs in ordinary conversation."))


def _notes_on_neighbours(near: list[NearHomophone], language: str) -> list[Note]:
    common = [other for other in near if _commonness(other.text, language) >= SPOKEN_PER_MILLION]
    same = [other.text for other in common if other.distance <= 0.1]
    close = [other.text for other in common if 0.1 < other.distance <= VERY_NEAR]
    notes: list[Note] = []
    if same:
        text = worded("It sounds the same as %(texts)s: the detector will react to that too.", texts=_listed(same))
        notes.append(Note("caution", text))
    if close:
        text = worded(
            "It sounds much like %(texts)s: training teaches the difference, but expect mistakes.", texts=_listed(close)
        )
        notes.append(Note("caution", text))
    if near and not notes:
        return [Note("good", worded("Nothing common sounds like it."))]
    return notes or [Note("good", worded("No real phrase sounds like it."))]


def _notes_on_words(phrase: str, commonness: tuple[WordCommonness, ...], known: bool) -> list[Note]:
    notes: list[Note] = []
    if phrase in TAKEN:
        text = worded("Other devices listen for the same words and will react if they are near.")
        notes.append(Note("caution", text))
    unknown = [common.word for common in commonness if common.zipf == 0.0]
    if unknown and known:
        text = worded(
            "Not in the dictionary: %(words)s. Voices may pronounce this in different ways: listen to a few clips, "
            "and if they are wrong, spell it as it sounds.",
            words=_listed(unknown),
        )
        notes.append(Note("caution", text))
    return notes


def _listed(texts: list[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts[:4])


def _suggestions(words: list[str], syllables: int, language: str, per_million: float) -> list[str]:
    """Suggest longer phrases that begin with a greeting; if none fits, describe a good phrase."""
    if syllables > LONG_SYLLABLES:
        return [worded("try its most unusual words alone, three to five syllables in all")]
    greetings = GREETINGS.get(base_language(language), ())
    if words[0] in greetings:
        return [
            worded('try a longer and rarer word after "%(word)s", three to five syllables in all', word=words[0]),
        ]
    if not greetings or len(words) > 1:
        return [worded("try a phrase of three to five syllables with at least one rare word")]
    known = vocabulary(language)
    offers = [f"{greeting} {words[0]}" for greeting in greetings if greeting != words[0]]
    rarer = [
        offer
        for offer in offers
        if _heard_per_million(offer.split(), language, known) < max(COMMON_PER_MILLION, min(per_million / 10, 5.0))
        and sum(map(len, phonemes_of_words(offer.split(), language))) >= ENOUGH_PHONES
    ]
    if not rarer:
        return [worded('try a rarer word, for example after a greeting: "%(greeting)s ..."', greeting=greetings[0])]
    return [worded('try "%(phrase)s"', phrase=offer) for offer in rarer[:2]]
