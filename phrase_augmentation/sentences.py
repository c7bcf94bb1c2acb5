"""Carrier sentences (with a gap) and general sentences, for positives and negatives.

English sentences come from a grammar. In other languages, sentences consist of frequent words, and some languages have
a few carriers. Positives and negatives share the carriers, so that a detector gains nothing from learning them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from phrase_augmentation.grammar import english
from phrase_augmentation.normalize import base_language
from phrase_augmentation.unfit_words import UNFIT
from phrase_augmentation.vocabulary import vocabulary

SENTENCE_WORDS = 5_000  # number of the most frequent words, which all voices read well
MIN_WORDS, MAX_WORDS = 3, 14  # words of a sentence of frequent words
FLATTENING = 0.8  # exponent of the frequencies; with 1, every third word of a sentence would be "the", "of" or "and"

# "{}" is the gap. The keys are its position: at the start, in the middle or at the end of the sentence.
CARRIERS: dict[str, dict[str, tuple[str, ...]]] = {
    "de": {
        "start": (
            "{}, wie spät ist es?",
            "{}, mach das Licht an.",
            "{} spiel bitte Musik.",
            "{}, wie wird das Wetter?",
        ),
        "middle": ("Ich habe {} gesagt und nichts ist passiert.", "Also {}, wir gehen jetzt.", "Und {} war schon da."),
        "end": (
            "Guten Morgen, {}.",
            "Hast du das gehört, {}?",
            "Wir sprachen gerade über {}.",
            "Mach das Licht aus, {}.",
        ),
    },
    "fr": {
        "start": (
            "{}, quelle heure est-il ?",
            "{}, allume la lumière.",
            "{} mets de la musique.",
            "{}, tu m'entends ?",
        ),
        "middle": ("J'ai dit {} et rien ne se passe.", "Alors {}, on y va.", "Je crois que {} est dans la cuisine."),
        "end": ("Bonjour, {}.", "Éteins la lumière, {}.", "On parlait justement de {}.", "Merci beaucoup, {}."),
    },
    "es": {
        "start": ("{}, ¿qué hora es?", "{}, enciende la luz.", "{} pon música.", "{}, ¿me oyes?"),
        "middle": ("Dije {} y no pasó nada.", "Bueno, {}, vámonos a casa.", "Creo que {} está en la mesa."),
        "end": ("Buenos días, {}.", "Apaga la luz, {}.", "Estábamos hablando de {}.", "Muchas gracias, {}."),
    },
    "it": {
        "start": ("{}, che ore sono?", "{}, accendi la luce.", "{} metti un po' di musica.", "{}, mi senti?"),
        "middle": ("Ho detto {} e non è successo niente.", "Allora {}, andiamo a casa.", "Credo che {} sia in cucina."),
        "end": ("Buongiorno, {}.", "Spegni la luce, {}.", "Stavamo parlando di {}.", "Grazie mille, {}."),
    },
    "pt": {
        "start": ("{}, que horas são?", "{}, acende a luz.", "{} toca uma música.", "{}, você me ouve?"),
        "middle": ("Eu disse {} e nada aconteceu.", "Então {}, vamos para casa.", "Acho que {} está na mesa."),
        "end": ("Bom dia, {}.", "Apaga a luz, {}.", "Estávamos falando de {}.", "Muito obrigado, {}."),
    },
    "nl": {
        "start": ("{}, hoe laat is het?", "{}, doe het licht aan.", "{} speel wat muziek.", "{}, hoor je mij?"),
        "middle": ("Ik zei {} en er gebeurde niets.", "Nou {}, we gaan naar huis.", "Ik denk dat {} op tafel ligt."),
        "end": ("Goedemorgen, {}.", "Doe het licht uit, {}.", "We hadden het net over {}.", "Dank je wel, {}."),
    },
    "ru": {
        "start": ("{}, который час?", "{}, включи свет.", "{} поставь музыку.", "{}, ты меня слышишь?"),
        "middle": ("Я сказал {} и ничего не произошло.", "Ну {}, пойдём домой.", "Мне кажется, {} лежит на столе."),
        "end": ("Доброе утро, {}.", "Выключи свет, {}.", "Мы как раз говорили про {}.", "Большое спасибо, {}."),
    },
}
PLACES = ("start", "middle", "end")


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a random generator for one purpose: equal names and seeds give equal numbers."""
    return np.random.default_rng([seed & 0xFFFFFFFF, *(zlib.crc32(name.encode()) for name in names)])


@dataclass(frozen=True)
class _Words:
    words: tuple[str, ...]
    cumulated: np.ndarray  # float64 [words], ends at 1


@lru_cache(maxsize=4)
def _sentence_words(language: str) -> _Words:
    known = vocabulary(language)
    unfit = UNFIT.get(language, frozenset())
    fit = [index for index, word in enumerate(known.words[:SENTENCE_WORDS]) if word not in unfit]
    cumulated = np.cumsum(known.frequency[fit] ** FLATTENING)
    words = tuple(known.words[index] for index in fit)
    return _Words(words, cumulated / cumulated[-1] if len(cumulated) else cumulated)


def random_words(count: int, language: str, rng: np.random.Generator) -> list[str]:
    """Draw words by frequency in running text, without immediate repetitions; [] for unknown languages."""
    source = _sentence_words(base_language(language))
    if not source.words:
        return []
    result: list[str] = []
    while len(result) < count:
        word = source.words[int(np.searchsorted(source.cumulated, rng.random(), side="right"))]
        if result[-1:] != [word]:
            result.append(word)
    return result


def generated_sentence(language: str, rng: np.random.Generator) -> str:
    """Return a general sentence; "" if the language's words are unknown."""
    if base_language(language) == "en":
        return _capitalized(english().sentence("sentence", rng))
    words = random_words(int(rng.integers(MIN_WORDS, MAX_WORDS + 1)), language, rng)
    if not words:
        return ""
    if len(words) > 6 and rng.random() < 0.5:
        words[int(rng.integers(2, len(words) - 2))] += ","
    return _as_sentence(words, str(rng.choice([".", ".", ".", "?", "!"])))


def carried(text: str, language: str, rng: np.random.Generator) -> tuple[str, str]:
    """Put a text into a sentence; return it and the position of the text: start, middle or end.

    In English, the sentence comes from the grammar. In other languages with carriers, half of the sentences are
    carriers; all others are frequent words around the text.
    """
    place = str(rng.choice(PLACES))
    if base_language(language) == "en":
        return _capitalized(english().sentence(place, rng).replace("{}", text)), place
    written = CARRIERS.get(base_language(language))
    around = random_words(int(rng.integers(2, 9)), language, rng)
    if written is not None and (not around or rng.random() < 0.5):
        carriers = written[place]
        return _capitalized(carriers[int(rng.integers(len(carriers)))].format(text)), place
    if not around:
        return text, "alone"
    pause = "," if rng.random() < 0.3 else ""
    if place == "start":
        words = [text + pause, *around]
    elif place == "end":
        words = [*around[:-1], around[-1] + pause, text]
    else:
        middle = len(around) // 2
        words = [*around[:middle], text + pause, *around[middle:]]
    return _as_sentence(words, str(rng.choice([".", ".", "?", "!"]))), place


def _as_sentence(words: list[str], ending: str) -> str:
    return _capitalized(" ".join(words)) + ending


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
