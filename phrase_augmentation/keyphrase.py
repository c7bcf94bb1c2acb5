"""Normalization and checks of a keyphrase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce

from core.errors import HarkError
from core.worded import worded
from phrase_augmentation.normalize import normalize, script_of, scripts_of

MAX_LETTERS = 80
MAX_WORDS = 8


class OtherScript(HarkError):
    """Raised if the keyphrase's script is not one of its language's, usually because it is in another language."""


SCRIPT_NAMES = {
    "": worded("in a different script"),
    "ARABIC": worded("Arabic"),
    "CJK": worded("Chinese"),
    "CYRILLIC": worded("Cyrillic"),
    "GREEK": worded("Greek"),
    "HANGUL": worded("Korean"),
    "LATIN": worded("Latin"),
}


def _script_name(script: str) -> str:
    return SCRIPT_NAMES.get(script, script.title())


def _either(one: str, other: str) -> str:
    return worded("%(one)s or %(other)s", one=one, other=other)


@dataclass(frozen=True)
class Keyphrase:
    """A normalized phrase that can be spoken. Text that was not checked before must go through :meth:`of`.

    Attributes:
        text: the result of :func:`phrase_augmentation.normalize.normalize`.
        language: "en", "de-at" ...
    """

    text: str
    language: str = "en"

    @classmethod
    def of(cls, text: str, language: str = "en") -> Keyphrase:
        """Create the keyphrase of a text.

        Raises:
            OtherScript: it has letters of a script in which the language is not written.
            HarkError: it has no speech (empty, emoji, punctuation), one letter, or over 80 letters or 8 words.
        """
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        example = worded('Type one to eight words, such as "hey compass".')
        if not shown:
            raise HarkError(worded("No keyphrase was given."), worded("The text is empty."), example)
        if len(text) > 20 * MAX_LETTERS:
            raise HarkError(
                worded("The keyphrase is too long."), worded("It has %(n)s characters.", n=len(text)), example
            )
        phrase = normalize(text, language)
        letters = [character for character in phrase if character.isalpha()]
        if not letters:
            raise HarkError(
                worded('"%(shown)s" cannot be pronounced.', shown=shown),
                worded("It has no letters or digits."),
                example,
            )
        allowed = scripts_of(language)
        foreign = next((letter for letter in letters if script_of(letter) not in allowed), None)
        if foreign is not None:
            raise OtherScript(
                worded(
                    '"%(shown)s" is not in the script of the language "%(language)s".', shown=shown, language=language
                ),
                worded(
                    'The letter "%(letter)s" is %(script)s; this language is written in %(names)s letters.',
                    letter=foreign,
                    script=_script_name(script_of(foreign)),
                    names=reduce(_either, sorted(map(_script_name, allowed))),
                ),
                worded("Choose the phrase's own language, or spell the phrase as it sounds in this one."),
            )
        if len(letters) == 1 and "CJK" not in allowed:
            raise HarkError(worded('"%(shown)s" is too short.', shown=shown), worded("It is a single letter."), example)
        if len(letters) > MAX_LETTERS:
            raise HarkError(
                worded("The keyphrase is too long."),
                worded("It has %(n)s spoken letters; the limit is %(most)s.", n=len(letters), most=MAX_LETTERS),
                example,
            )
        if len(phrase.split()) > MAX_WORDS:
            raise HarkError(
                worded("The keyphrase is too long."),
                worded("It has %(n)s words; the limit is %(most)s.", n=len(phrase.split()), most=MAX_WORDS),
                example,
            )
        return cls(phrase, language)

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(self.text.split())

    @cached_property
    def pronunciations(self) -> tuple[tuple[str, ...], ...]:
        """The phrase's phones in each expected accent; () if espeak-ng has none."""
        from phrase_augmentation.phonemes import accents, phones_of_texts

        spoken = [phones_of_texts([self.text], accent)[0] for accent in accents(self.language)]
        return tuple(dict.fromkeys(phones for phones in spoken if phones))
