"""Phones of texts, from espeak-ng in its own process (``phonemizer_process.py``)."""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import threading
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from core.errors import HarkError
from core.worded import listed, worded
from core.worker_process import WorkerGone, WorkerProcess
from phrase_augmentation.distance import AFFRICATES, VOWEL_LETTERS, is_vowel
from phrase_augmentation.normalize import base_language

Phones = tuple[str, ...]

# Accents of the expected speakers and voices. The first one provides the phones for display and ranking. A homophone in
# any accent is not a negative ("source" is "sauce" in London, "ladder" is "latter" in Boston).
ACCENTS: dict[str, tuple[str, ...]] = {
    "en": ("en-us", "en-gb"),
    "es": ("es", "es-419"),
    "pt": ("pt-br", "pt"),
    "zh": ("cmn",),
    "no": ("nb",),
    "sh": ("hr",),
    "fil": ("id",),  # espeak-ng does not have Filipino; Indonesian spelling and phones are almost the same
}
BATCH = 512  # texts per request
TIMEOUT_S = 30.0  # seconds; a batch takes about 20 ms, so a process that takes longer than this has hung
CACHED_TEXTS = 200_000  # maximum texts in memory, about 40 MB
CLOSING = frozenset("ɪʊiuyʏɯ")  # the second vowel of a diphthong; others begin a new syllable
RHOTIC_VOWELS = {"ɚ": ("ə", "ɹ"), "ɝ": ("ɜ", "ɹ")}
SYLLABIC = "\u0329"
TIE_BAR = "\u0361"

_LANGUAGE_SWITCH = re.compile(r"\([a-z]{2,3}[\w-]*\)")
_NOT_PHONES = re.compile(r"[ˌːˑ.|‖!?,;:\"“”]")

_log = logging.getLogger(__name__)


class _Phonemizer:
    """The process, which is restarted after a crash. It is thread-safe, and a forked child starts its own."""

    def __init__(self) -> None:
        self._forget_process()
        self._cache: dict[tuple[str, str], str] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_process)

    def _forget_process(self) -> None:
        """Reset process and lock. A forked child does so too, because its copies belong to the parent."""
        self._lock = threading.RLock()
        self._process: WorkerProcess | None = None

    def hello(self) -> dict[str, Any]:
        """Return the first message of the process, with espeak-ng's version and languages."""
        with self._lock:
            return self._started().facts

    def raw(self, texts: Sequence[str], voice: str) -> list[str]:
        """Return espeak-ng's phone strings, one per text. A text that crashes espeak-ng has an empty string."""
        with self._lock:
            missing = list(dict.fromkeys(text for text in texts if (voice, text) not in self._cache))
            if len(self._cache) + len(missing) > CACHED_TEXTS:
                self._cache.clear()
                missing = list(dict.fromkeys(texts))
            for begin in range(0, len(missing), BATCH):
                batch = missing[begin : begin + BATCH]
                for text, phones in zip(batch, self._ask_surviving(batch, voice)):
                    self._cache[voice, text] = phones
            return [self._cache[voice, text] for text in texts]

    def remember(self, voice: str, raw: dict[str, str]) -> None:
        """Add phone strings that were stored on disk."""
        with self._lock:
            self._cache.update({(voice, text): phones for text, phones in raw.items()})

    def _ask_surviving(self, texts: list[str], voice: str) -> list[str]:
        try:
            return self._ask(texts, voice)
        except WorkerGone as gone:
            if len(texts) == 1:
                try:
                    return self._ask(texts, voice)
                except WorkerGone:
                    _log.warning("%s; the text %.60r is left out", gone, texts[0])
                    return [""]
            half = len(texts) // 2
            return self._ask_surviving(texts[:half], voice) + self._ask_surviving(texts[half:], voice)

    def _ask(self, texts: list[str], voice: str) -> list[str]:
        process = self._started()
        # Surrogates cannot be encoded, and NUL ends a C string; neither is speech.
        spoken = [text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ") for text in texts]
        process.send({"id": "1", "voice": voice, "texts": spoken})
        try:
            answer = process.answer("1", TIMEOUT_S)
        except WorkerGone:
            self.stop()
            raise
        if answer["event"] == "failed":
            raise HarkError(
                worded('Hark cannot pronounce the language "%(voice)s".', voice=voice),
                f"{answer['why']}.",
                _choose_language(process.facts),
            )
        phones: list[str] = answer["phones"]
        return phones

    def _started(self) -> WorkerProcess:
        if self._process is not None and self._process.alive():
            return self._process
        self.stop()
        command = [sys.executable, "-m", "phrase_augmentation.phonemizer_process"]
        try:
            self._process = WorkerProcess("espeak-ng", command, {}, TIMEOUT_S)
        except (WorkerGone, OSError) as error:
            raise HarkError(
                worded("Hark cannot convert text into phones."),
                worded("espeak-ng did not start: %(error)s.", error=str(error)),
                worded(
                    "Install it: pip install espeakng-loader, or the Debian package espeak-ng; then run ./hark doctor."
                ),
            ) from error
        return self._process

    def stop(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.kill()


_phonemizer = _Phonemizer()
atexit.register(_phonemizer.stop)


def _choose_language(hello: dict[str, Any]) -> str:
    shorter = [name for name in hello.get("languages", []) if len(name) <= 3]
    return worded("Choose one of: %(languages)s.", languages=listed(shorter))


def version() -> str:
    return str(_phonemizer.hello()["version"])


def accents(language: str) -> tuple[str, ...]:
    """Return the espeak-ng languages in which a text of this language is checked; the first is for ranking.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    return _accents(language.strip().lower().replace("_", "-"))


@lru_cache(maxsize=256)
def _accents(code: str) -> tuple[str, ...]:
    base = base_language(code)
    usual = ACCENTS.get(base, (base,))
    hello = _phonemizer.hello()
    known = hello["languages"]
    if code in known and code != base:
        return (code, *(accent for accent in usual if accent != code))
    if usual[0] not in known:
        raise HarkError(
            worded('Hark cannot pronounce the language "%(code)s".', code=code),
            worded("espeak-ng does not have this language."),
            _choose_language(hello),
        )
    return usual


def phonemes(text: str, language: str = "en") -> Phones:
    """Return the phones of a text spoken without pauses: IPA without stress, length, punctuation and word boundaries.

    Diphthongs and affricates are one phone. The American "er" is ə and ɹ. The result is empty if nothing
    in the text can be spoken.

    Raises:
        HarkError: espeak-ng is missing or does not have the language.
    """
    return phones_of_texts([text], accents(language)[0])[0]


def phonemes_of_words(words: Sequence[str], language: str = "en") -> list[Phones]:
    """Return the phones of each word spoken alone, in the language's first accent. Thousands of words per second."""
    return phones_of_texts(words, accents(language)[0])


def phones_of_texts(texts: Sequence[str], accent: str) -> list[Phones]:
    """Return the phones of each text in one accent (an espeak-ng name, as from :func:`accents`)."""
    return [_parse(raw, accent) for raw in _phonemizer.raw(texts, accent)]


def stressed_vowel(word: str, language: str = "en") -> int | None:
    """Return the index of a word's vowel with the main stress; None if it has no marked stress."""
    raw = _phonemizer.raw([word], accents(language)[0])[0]
    before, mark, _ = raw.partition("ˈ")
    return sum(is_vowel(phone) for phone in _parse(before, accents(language)[0])) if mark else None


def raw_phones(texts: Sequence[str], accent: str) -> list[str]:
    """Return espeak-ng's own phone strings, as stored on disk."""
    return _phonemizer.raw(texts, accent)


def remember_raw_phones(accent: str, raw: dict[str, str]) -> None:
    """Restore phone strings of :func:`raw_phones` from an earlier process."""
    _phonemizer.remember(accent, raw)


@lru_cache(maxsize=100_000)
def _parse(raw: str, accent: str) -> Phones:
    """Parse an espeak-ng string: "_" separates phones, a space words, and (en) marks a language switch."""
    phones: list[str] = []
    for token in re.split(r"[_\s]+", _LANGUAGE_SWITCH.sub("_", raw)):
        token = _NOT_PHONES.sub("", token.replace("ˈ", ""))
        if token:
            phones.extend(_phones_of_token(token))
    if accent == "en-us":
        phones = _with_rhotic_vowels(phones)
    return tuple(phones)


@lru_cache(maxsize=4096)
def _phones_of_token(token: str) -> tuple[str, ...]:
    """Return one to three phones: espeak-ng writes some pairs together ("ɑːɹ", "əl", "aɪɚ", "n̩")."""
    phones: list[str] = []
    for character in unicodedata.normalize("NFD", token.replace(TIE_BAR, "")):
        last = phones[-1] if phones else ""
        if character == SYLLABIC:
            phones[-1:] = ["ə", last] if last else []
        elif unicodedata.category(character) in ("Mn", "Lm", "Sk", "Nd", "No"):
            if last:
                phones[-1] += character
        elif character in RHOTIC_VOWELS:
            phones.extend(RHOTIC_VOWELS[character])
        elif last + character in AFFRICATES or (
            character in CLOSING and len(last) == 1 and last in VOWEL_LETTERS and last != character
        ):
            phones[-1] += character
        elif character == "g":
            phones.append("ɡ")
        elif character.isalpha():
            phones.append(character)
    return tuple(phones)


def _with_rhotic_vowels(phones: list[str]) -> list[str]:
    """Rewrite American "ɜ" (bird, her), an r-coloured schwa as in "better", as ə and ɹ."""
    result: list[str] = []
    for index, phone in enumerate(phones):
        if phone == "ɜ":
            result.append("ə")
            if phones[index + 1 : index + 2] != ["ɹ"]:
                result.append("ɹ")
        else:
            result.append(phone)
    return result
