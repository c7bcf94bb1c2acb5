"""Normalization of text for comparing, searching and counting. Engines get the original text."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_DIGITS = 15  # digits; longer numbers are read digit by digit

# Scripts of languages that are not (only) written in Latin script. The names are the first words of the letters'
# Unicode names.
SCRIPTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(["ba", "be", "bg", "cv", "kk", "ky", "mk", "nog", "ru", "tg", "tt", "uk"], frozenset({"CYRILLIC"})),
    **dict.fromkeys(["bs", "hbs", "mn", "sh", "sr", "tk", "uz"], frozenset({"CYRILLIC", "LATIN"})),
    **dict.fromkeys(["ar", "fa", "ps", "sd", "ug", "ur"], frozenset({"ARABIC"})),
    **dict.fromkeys(["bh", "hi", "kok", "mr", "ne", "sa"], frozenset({"DEVANAGARI"})),
    **dict.fromkeys(["as", "bn", "bpy"], frozenset({"BENGALI"})),
    **dict.fromkeys(["am", "ti"], frozenset({"ETHIOPIC"})),
    **dict.fromkeys(["el", "grc"], frozenset({"GREEK"})),
    **dict.fromkeys(["cmn", "hak", "yue", "zh"], frozenset({"CJK"})),
    "chr": frozenset({"CHEROKEE"}),
    "gu": frozenset({"GUJARATI"}),
    "he": frozenset({"HEBREW"}),
    "hy": frozenset({"ARMENIAN"}),
    "hyw": frozenset({"ARMENIAN"}),
    # Without Han characters: espeak-ng reads each kanji as the words "Chinese character".
    "ja": frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    "ka": frozenset({"GEORGIAN"}),
    "kn": frozenset({"KANNADA"}),
    "ko": frozenset({"HANGUL"}),
    "ml": frozenset({"MALAYALAM"}),
    "my": frozenset({"MYANMAR"}),
    "or": frozenset({"ORIYA"}),
    "pa": frozenset({"GURMUKHI"}),
    "shn": frozenset({"MYANMAR"}),
    "si": frozenset({"SINHALA"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "th": frozenset({"THAI"}),
}
LATIN = frozenset({"LATIN"})

# Languages that have other names in num2words.
NUM2WORDS_NAMES = {"nb": "no", "nn": "no", "kk": "kz", "sh": "sr", "hbs": "sr"}

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ＇`´ʹ′", "'"))
_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,15})(?:st|nd|rd|th)\b")
# 1,000,000 and 3.14, or 1.000.000 and 3,14 if the comma is the decimal sign.
_NUMBER_POINT = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?")
_NUMBER_COMMA = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?(?![\d.])|\d+(?:,\d+)?")
_DECIMAL_COMMA = frozenset((
    "bg", "cs", "da", "de", "el", "es", "fi", "fr", "hu", "id", "is", "it", "lt", "lv", "nb", "nl", "no", "pl", "pt",
    "ro", "ru", "sk", "sl", "sr", "sv", "tr", "uk", "vi",
))  # fmt: skip


def base_language(language: str) -> str:
    """Remove a language's region: "en" for "en-us", "en_GB" and "EN"."""
    return re.split(r"[-_]", language.strip().lower(), maxsplit=1)[0]


def scripts_of(language: str) -> frozenset[str]:
    """Return the scripts of a language, by the first words of the Unicode names of their letters."""
    return SCRIPTS.get(base_language(language), LATIN)


def script_of(letter: str) -> str:
    """Return the script of a letter ("LATIN", "CJK", ...), or "" for letters without a script (such as "ー")."""
    name = unicodedata.name(letter, "").split(" ")
    return "LATIN" if name[:1] in (["FEMININE"], ["MASCULINE"], ["MICRO"]) else name[0]


def normalize(text: str, language: str = "en") -> str:
    """Return lower-case words of letters and inner apostrophes, separated by single spaces. Numbers become words.

    The result is in NFKC. Hyphens become spaces. Other punctuation, emoji and control characters are removed. Digits
    remain only in languages whose numbers num2words does not know. ``normalize(normalize(x)) == normalize(x)``.
    """
    # One pass suffices for almost every text; rare Unicode sequences compose or change case again after the first.
    for _ in range(8):
        changed = _normalize_once(text, language)
        if changed == text:
            break
        text = changed
    return text


def _normalize_once(text: str, language: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower()).translate(_APOSTROPHES)
    if any(character.isdecimal() for character in text):
        text = _numbers_to_words(text, language)
    characters: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "L" or category in ("Mn", "Mc") or category == "Nd" or character == "'":
            characters.append(character)
        elif category != "Cf":  # joiners and other invisible marks occur within words
            characters.append(" ")
    words: list[str] = []
    for word in "".join(characters).split():
        while word and (word[0] == "'" or unicodedata.category(word[0])[0] == "M"):
            word = word[1:]
        word = re.sub(r"'{2,}", "'", word.rstrip("'"))
        if word:
            words.append(word)
    return unicodedata.normalize("NFKC", " ".join(words))


def _numbers_to_words(text: str, language: str) -> str:
    language = base_language(language)
    if language == "en":
        text = _ORDINAL.sub(lambda match: _spoken(match[1], language, "ordinal"), text)
    pattern = _NUMBER_COMMA if language in _DECIMAL_COMMA else _NUMBER_POINT
    return pattern.sub(lambda match: f" {_spoken(match[0], language, 'cardinal')} ", text)


@lru_cache(maxsize=4096)
def _spoken(number: str, language: str, form: str) -> str:
    """Return a number as words; the number itself if num2words cannot write it."""
    from num2words import num2words

    thousands, point = (".", ",") if language in _DECIMAL_COMMA else (",", ".")
    plain = number.replace(thousands, "").replace(point, ".")
    name = NUM2WORDS_NAMES.get(language, language)
    whole, _, decimals = plain.partition(".")
    try:
        if len(whole) > MAX_DIGITS or len(decimals) > MAX_DIGITS or (len(whole) > 1 and int(whole[0]) == 0):
            return " ".join(num2words(int(digit), lang=name) for digit in plain if digit.isdecimal())
        return str(num2words(float(plain) if decimals else int(whole), lang=name, to=form))
    except (NotImplementedError, ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError):
        return number
